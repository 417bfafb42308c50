import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';

/** One call that succeeds. */
export function succeed(breaker: CircuitBreaker): void {
  breaker.acquire().success();
}

/** So many calls that fail, one after the other. */
export function fail(breaker: CircuitBreaker, times = 1): void {
  for (let call = 0; call < times; call++) breaker.acquire().failure(new Error(`failure ${call + 1}`));
}

/** Opens a closed circuit the way a dead target does. */
export function openCircuit(breaker: CircuitBreaker): void {
  while (breaker.state === 'closed') fail(breaker);
}
