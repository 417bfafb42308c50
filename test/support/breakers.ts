import { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { Permit } from '../../src/breaker/permit.js';
import type { Transition } from '../../src/breaker/observer.js';
import { CircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { installOutcomes } from '../../src/outcomes/classify.js';
import { FakeClock } from './clock.js';

// As the package does: errors are judged by what is known of clients.
installOutcomes();

/** A breaker and the clock it goes by. */
export function breakerWithClock(options?: BreakerOptions): {
  readonly breaker: CircuitBreaker;
  readonly clock: FakeClock;
} {
  const clock = new FakeClock();
  return { breaker: new CircuitBreaker('target', options, clock), clock };
}

/** So many calls that succeed, one after the other. */
export function succeed(breaker: CircuitBreaker, times = 1): void {
  for (let call = 0; call < times; call++) breaker.acquire().success();
}

/** So many calls that fail, one after the other. */
export function fail(breaker: CircuitBreaker, times = 1): void {
  for (let call = 0; call < times; call++) breaker.acquire().failure(new Error(`failure ${call + 1}`));
}

/** So many calls that the caller gives up, one after the other. */
export function ignore(breaker: CircuitBreaker, times = 1): void {
  for (let call = 0; call < times; call++) breaker.acquire().ignore();
}

/** So many calls that are under way. */
export function start(breaker: CircuitBreaker, times: number): Permit[] {
  return Array.from({ length: times }, () => breaker.acquire());
}

/** Opens a closed circuit the way a dead target does. */
export function openCircuit(breaker: CircuitBreaker): void {
  while (breaker.state === 'closed') fail(breaker);
}

/** Opens a closed circuit the way a target does to which no connection can be made. */
export function lose(breaker: CircuitBreaker): void {
  while (breaker.state === 'closed') breaker.acquire().failure(refused());
}

/** The error of a connection that was refused. */
export function refused(): Error {
  return Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' });
}

/** Opens a closed circuit, waits its time out and starts the first probe. */
export function startProbe(breaker: CircuitBreaker, clock: FakeClock): Permit {
  openCircuit(breaker);
  waitUntilProbe(breaker, clock);
  return breaker.acquire();
}

/** Waits until an open circuit lets a probe through. */
export function waitUntilProbe(breaker: CircuitBreaker, clock: FakeClock): void {
  clock.advance(breaker.stats().openUntil!.getTime() - clock.wallNow());
}

/** Tries one call and returns why it was rejected. */
export function rejectionOf(breaker: CircuitBreaker): CircuitOpenError {
  try {
    breaker.acquire();
  } catch (error) {
    if (error instanceof CircuitOpenError) return error;
    throw error;
  }
  throw new Error(`a call was let through while the circuit is ${breaker.state}`);
}

/** Everything that a breaker's circuit does from now on. */
export function recordTransitions(breaker: CircuitBreaker): Transition[] {
  const transitions: Transition[] = [];
  breaker.onTransition((transition) => transitions.push(transition));
  return transitions;
}
