import http from 'node:http';
import { text } from 'node:stream/consumers';
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard/guard.js';
import { RuleSet } from '../../src/rules/rule-set.js';

/** The http instrumentation with breakers of its own. */
export interface GuardedHttp {
  readonly registry: CircuitBreakerRegistry;
  readonly instrumentation: HttpBreakerInstrumentation;
  /** The breaker of an origin; with these options, where no call has made it yet. */
  breakerOf(origin: string, options?: BreakerOptions): CircuitBreaker;
  /** A breaker that rejects every call. */
  openBreakerOf(origin: string): CircuitBreaker;
}

export function guardHttp(): GuardedHttp {
  const registry = new CircuitBreakerRegistry();
  const instrumentation = new HttpBreakerInstrumentation({ enabled: false }, new Guard(registry, new RuleSet()));
  instrumentation.enable();
  return {
    registry,
    instrumentation,
    breakerOf: (origin, options) => registry.getOrCreate(origin, { preset: 'httpApi', ...options }),
    openBreakerOf: (origin) => {
      const breaker = registry.getOrCreate(origin);
      breaker.forceOpen();
      return breaker;
    },
  };
}

/** What a breaker has counted, once no call is in flight any more: outcomes follow the answer by a few turns of the loop. */
export async function outcomesOf(breaker: CircuitBreaker): Promise<string> {
  while (breaker.stats().calls.inFlight > 0) await nextTurn();
  return countsOf(breaker);
}

/** What a breaker has counted so far, zeros left out: `2 success, 1 ignored`. */
export function countsOf(breaker: CircuitBreaker): string {
  const counts = Object.entries(breaker.stats().calls).filter(([name, count]) => name !== 'oldestMs' && count! > 0);
  return counts.map(([outcome, count]) => `${count} ${outcome}`).join(', ');
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface Ending {
  readonly status?: number | undefined;
  readonly body?: string;
  readonly error?: NodeJS.ErrnoException;
}

/** Ends a request, reads its answer to the end, and waits until it is closed. Never rejects. */
export async function finish(req: http.ClientRequest): Promise<Ending> {
  const closed = closeOf(req);
  const ending = await new Promise<Ending>((resolve) => {
    req.once('error', (error) => resolve({ error }));
    req.once('response', (res) => {
      text(res).then(
        (body) => resolve({ status: res.statusCode, body }),
        (error: NodeJS.ErrnoException) => resolve({ status: res.statusCode, error }),
      );
    });
    req.end();
  });
  // A request that fails on its way has its error first and is closed after that.
  req.on('error', () => {});
  await closed;
  return ending;
}

/** One GET, from the first byte to the close of the request. Its connection is not kept. */
export function get(target: number | string | http.RequestOptions): Promise<Ending> {
  const options = { agent: false as const, host: '127.0.0.1' };
  if (typeof target === 'string') return finish(http.request(target, { agent: false }));
  return finish(http.request(typeof target === 'number' ? { ...options, port: target } : { ...options, ...target }));
}

export function closeOf(req: http.ClientRequest): Promise<void> {
  return new Promise((resolve) => req.once('close', resolve));
}

/** The events of a request until it is closed, in their order, as words. */
export async function eventsOf(req: http.ClientRequest): Promise<string[]> {
  const events: string[] = [];
  for (const name of ['socket', 'finish', 'response', 'timeout', 'abort']) req.on(name, () => events.push(name));
  req.on('error', (error: NodeJS.ErrnoException) => events.push(`error ${error.code ?? error.message}`));
  await closeOf(req);
  return [...events, 'close'];
}
