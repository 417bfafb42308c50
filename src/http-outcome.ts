import type { BreakerConfig } from './breaker/config.js';
import { withoutStack } from './breaker/errors.js';
import type { Permit } from './breaker/circuit-breaker.js';

/** The cause of a failure that arrived as an answer: what `isFailure` gets, and the `cause` of later rejections. */
export class HttpStatusError extends Error {
  static {
    Object.defineProperty(this.prototype, 'name', { value: 'HttpStatusError', configurable: true, writable: true });
  }
  readonly code = 'ERR_HTTP_STATUS';

  constructor(readonly statusCode: number) {
    super(`The answer had status ${statusCode}`);
  }
}

/** Reads one header of an answer, named in lower case. */
export type HeaderReader = (name: string) => string | undefined;

const TOO_MANY_REQUESTS = 429;
const UNAVAILABLE = 503;
// 408 says that our side was too slow to send, 429 that our side sends too much: neither is a word on the target's health.
const NEUTRAL: ReadonlySet<number> = new Set([408, TOO_MANY_REQUESTS]);

/** Settles a call by the status of its final headers, where that decides: a good status leaves the rest to the body. */
export function settleByStatus(permit: Permit, status: number, header: HeaderReader): void {
  const { config } = permit.breaker;
  if (config.honorRetryAfter && (status === TOO_MANY_REQUESTS || status === UNAVAILABLE)) {
    const wait = retryAfterMs(header, Date.now());
    if (wait !== undefined) return permit.failure(statusError(status), wait);
  }
  if (isFailureStatus(config, status)) permit.failure(statusError(status));
  else if (NEUTRAL.has(status)) permit.ignore();
}

function statusError(status: number): HttpStatusError {
  return withoutStack(() => new HttpStatusError(status));
}

const compiled = new WeakMap<BreakerConfig['failureStatuses'], ReadonlySet<number>>();

export function isFailureStatus({ failureStatuses }: BreakerConfig, status: number): boolean {
  let set = compiled.get(failureStatuses);
  if (set === undefined) compiled.set(failureStatuses, (set = expand(failureStatuses)));
  return set.has(status);
}

/** All statuses of a list of numbers, classes (`5xx`) and exceptions (`!501`). */
function expand(list: readonly (number | string)[]): ReadonlySet<number> {
  const patterns = list.map((entry) => String(entry).toLowerCase());
  const excluded = patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1));
  const included = patterns.filter((pattern) => !pattern.startsWith('!'));
  const matches = (status: number) => (pattern: string) =>
    pattern.endsWith('xx') ? pattern.startsWith(String(Math.floor(status / 100))) : pattern === String(status);
  const all = Array.from({ length: 500 }, (_, index) => index + 100);
  return new Set(all.filter((status) => included.some(matches(status)) && !excluded.some(matches(status))));
}

/**
 * How long the target asked to be left alone, in milliseconds: `retry-after-ms` (as LLM services send it), or
 * `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3).
 */
export function retryAfterMs(header: HeaderReader, wallNow: number): number | undefined {
  const precise = number(header('retry-after-ms'));
  if (precise !== undefined) return precise;
  const value = header('retry-after');
  const seconds = number(value);
  if (seconds !== undefined) return seconds * 1_000;
  const date = Date.parse(value ?? '');
  return Number.isNaN(date) || date <= wallNow ? undefined : date - wallNow;
}

function number(value: string | undefined): number | undefined {
  return value !== undefined && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) : undefined;
}
