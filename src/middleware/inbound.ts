import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { Permit } from '../breaker/permit.js';
import { CircuitOpenError } from '../breaker/errors.js';
import { retryAfterSeconds, statusError, verdictOfStatus } from '../outcomes/http.js';
import { namedBreaker, type NamedBreakerOptions } from '../named-breaker.js';

/** Which breaker guards the requests, and which requests pass unguarded. */
export interface DoorOptions extends NamedBreakerOptions {
  /**
   * Requests that pass unguarded and uncounted, by their path: a string means exactly that path. Default: `healthChecks`,
   * since a service whose health check is rejected would be restarted for a fault that is not its own.
   */
  skip?: readonly (string | RegExp)[] | ((path: string) => boolean);
}

/** Usual paths of health checks: `/health`, `/healthz`, `/livez`, `/readyz`, … under any prefix; `/live`, `/ready`, `/metrics`. */
export const healthChecks: readonly RegExp[] = [
  /\/(health|healthz|healthcheck|livez|liveness|readyz|readiness)(\/|$)/,
  /^\/(live|ready|metrics)\/?$/,
];

/** An answer that comes from us and not from the route. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A request that was admitted, until it has an outcome. */
export interface Inbound {
  readonly permit: Permit;
  /** The error that the route threw, where the framework shows it to us: the cause, if the status is a failure. */
  error?: unknown;
}

/** What all frameworks share: whether to admit a request, and what its outcome is. */
export class Door {
  readonly breaker: CircuitBreaker;
  readonly #skips: (path: string) => boolean;
  readonly #inbounds = new WeakMap<object, Inbound>();

  constructor({ skip = healthChecks, ...options }: DoorOptions) {
    this.breaker = namedBreaker(options);
    this.#skips = typeof skip === 'function' ? skip : (path) => skip.some((pattern) => matches(pattern, path));
  }

  /**
   * @param request the object that identifies it: a request that a router and its route both guard is one call
   * @param paths the path with and without the prefix that a router has removed
   * @returns the answer of a rejected request; `undefined` where it may go on
   */
  enter(request: object, paths: readonly string[], watch: (inbound: Inbound) => void): Answer | undefined {
    if (this.#inbounds.has(request) || paths.some((path) => this.#skips(path))) return undefined;
    const permit = this.breaker.tryAcquire();
    if (permit instanceof CircuitOpenError) return openAnswer(permit);
    const inbound = { permit };
    this.#inbounds.set(request, inbound);
    watch(inbound);
    return undefined;
  }

  /** The call of an admitted request; `undefined` where it is not counted. */
  inboundOf(request: object): Inbound | undefined {
    return this.#inbounds.get(request);
  }
}

/**
 * Settles a request by the status that its route has answered with.
 *
 * `Retry-After` among the headers is ignored: what a route tells one client must not reject the others.
 */
export function settleByAnswer({ permit, error }: Inbound, status: number): void {
  if (permit.settled) return;
  const verdict = verdictOfStatus(permit.breaker.config, status);
  permit.settle(verdict, verdict === 'failure' ? (error ?? statusError(status)) : undefined);
}

const UNAVAILABLE = 503;
const BAD_GATEWAY = 502;

/** What a request gets while the circuit is open. It says when to come back, and does not say what is wrong. */
function openAnswer({ retryAfterMs }: CircuitOpenError): Answer {
  const seconds = retryAfterSeconds(retryAfterMs);
  const message = `Temporarily unavailable; try again in ${seconds} s`;
  return answer(UNAVAILABLE, 'CIRCUIT_BREAKER_OPEN', message, { 'retry-after': String(seconds) });
}

/** The answer of a request whose route threw, where no framework would answer. */
export const FAILED_ANSWER = answer(BAD_GATEWAY, 'CIRCUIT_BREAKER_ERROR', 'The request failed', {});

function answer(status: number, code: string, message: string, headers: Readonly<Record<string, string>>): Answer {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...headers },
    body: JSON.stringify({ error: { code, message, status } }),
  };
}

function matches(pattern: string | RegExp, path: string): boolean {
  if (typeof pattern === 'string') return pattern === path;
  // A pattern with the flag `g` or `y` starts its next test where the last one stopped.
  pattern.lastIndex = 0;
  return pattern.test(path);
}
