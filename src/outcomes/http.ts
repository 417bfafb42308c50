import type { BreakerConfig } from '../breaker/config.js';
import { withoutStack } from '../breaker/errors.js';
import type { Permit } from '../breaker/permit.js';

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

// What says that the target, or the way to it, is in trouble. The answers that undici gives on behalf of our own side
// (bad arguments, limits on sizes, a client closed by its owner) are not among them.
const FAILURE_CODES: ReadonlySet<unknown> = new Set([
  'UND_ERR_SOCKET',
  'UND_ERR_PRX_TLS',
  'UND_ERR_PRX_CONN',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'EPROTO',
  'ENOTFOUND',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETRESET',
  'ENETUNREACH',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'HOSTNAME_MISMATCH',
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_HTTP2_SESSION_ERROR',
]);
// Look-ups (EAI_AGAIN), parse errors of answers, TLS, certificates (UNABLE_TO_VERIFY_LEAF_SIGNATURE), SOCKS.
const FAILURE_FAMILY = /^(EAI_|HPE_|ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|UND_ERR_SOCKS5)/;

/**
 * Whether an error of a client that reports everything on one path, its own troubles included, is one of the target.
 * Timeouts are to be told apart first.
 */
export function isFailureOfTarget(error: unknown): boolean {
  const { name, code, message } = (error ?? {}) as { name?: unknown; code?: unknown; message?: unknown };
  // undici has no code for some ways of not being HTTP.
  if (typeof code !== 'string') return name === 'HTTPParserError';
  return FAILURE_CODES.has(code) || FAILURE_FAMILY.test(code) || isUnreachableThroughProxy(code, message);
}

/** undici calls it an abort when a proxy cannot reach the target (502, 503, 504) or refuses to (all others). */
function isUnreachableThroughProxy(code: string, message: unknown): boolean {
  return code === 'UND_ERR_ABORTED' && /^Proxy response \(50[234]\)/.test(String(message));
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
 * `Retry-After` in seconds or as an HTTP date (RFC 9110, 10.2.3). `undefined` where it said nothing, or "at once".
 */
export function retryAfterMs(header: HeaderReader, wallNow: number): number | undefined {
  const value = header('retry-after');
  const seconds = number(value);
  const wait =
    number(header('retry-after-ms')) ?? (seconds === undefined ? Date.parse(value ?? '') - wallNow : seconds * 1_000);
  // NaN, or a time that is over: nothing to wait for.
  return wait > 0 ? wait : undefined;
}

function number(value: string | undefined): number | undefined {
  return value !== undefined && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) : undefined;
}
