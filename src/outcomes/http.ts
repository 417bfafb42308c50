import type { BreakerConfig } from '../breaker/config.js';
import type { Permit } from '../breaker/permit.js';
import { withoutStack } from '../breaker/errors.js';
import { isObject, read, readText } from '../breaker/values.js';
import { meaningOfCode } from './network-codes.js';

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
const LOWEST_OF_ERRORS = 400;
// 408 says that our side was too slow to send, 429 that our side sends too much: neither is a word on the target's health.
const NEUTRAL: ReadonlySet<number> = new Set([408, TOO_MANY_REQUESTS]);

/** What the status of an answer says, once its body has come. 408 and 429 say nothing. */
export function verdictOfStatus(config: BreakerConfig, status: number): 'success' | 'failure' | 'ignored' {
  if (isFailureStatus(config, status)) return 'failure';
  return NEUTRAL.has(status) ? 'ignored' : 'success';
}

const SLOW_DOWN = /^Slow ?Down$/i;
const THROTTLING = /^(Throttl|SlowDown|RequestLimitExceeded|TooManyRequests)/i;

/**
 * The status that an answer means: services of AWS say 429 as a 503 with the reason `Slow Down` (S3), or with
 * `x-amzn-errortype: ThrottlingException`.
 */
export function meantStatus(status: number, header: HeaderReader, reasonPhrase?: string): number {
  if (status !== UNAVAILABLE) return status;
  const throttled = SLOW_DOWN.test(reasonPhrase ?? '') || THROTTLING.test(header('x-amzn-errortype') ?? '');
  return throttled ? TOO_MANY_REQUESTS : status;
}

/**
 * Settles a call by its final headers, where these decide: a good status leaves the rest to the body.
 *
 * @param reasonPhrase what follows the status in the status line
 */
export function settleByStatus(permit: Permit, status: number, header: HeaderReader, reasonPhrase?: string): void {
  const { config } = permit.breaker;
  const meant = meantStatus(status, header, reasonPhrase);
  const wait = askedWaitMs(config, meant, header);
  if (wait !== undefined) return permit.failure(statusError(status), wait);
  const verdict = verdictOfStatus(config, meant);
  if (verdict === 'failure') permit.failure(statusError(status));
  else if (verdict === 'ignored') permit.ignore();
}

/** The error that stands for an answer whose status is a failure. */
export function statusError(status: number): HttpStatusError {
  return withoutStack(() => new HttpStatusError(status));
}

/** How long an answer asked to be left alone, in milliseconds, where the breaker honours that; else `undefined`. */
export function askedWaitMs(config: BreakerConfig, status: number, header: HeaderReader): number | undefined {
  if (!config.honorRetryAfter || (status !== TOO_MANY_REQUESTS && status !== UNAVAILABLE)) return undefined;
  return retryAfterMs(header, Date.now());
}

/**
 * Whether an error of a client that reports everything on one path, its own troubles included, is one of the target.
 * Timeouts are to be told apart first.
 */
export function isFailureOfTarget(error: unknown): boolean {
  if (!isObject(error)) return false;
  const meaning = meaningOfCode(error);
  if (meaning !== undefined) return meaning === 'failure' || meaning === 'unreachable';
  const code = read(error, 'code');
  // undici has no code for some ways of not being HTTP.
  if (typeof code !== 'string') return read(error, 'name') === 'HTTPParserError';
  return isUnreachableThroughProxy(code, readText(error, 'message'));
}

/** undici calls it an abort when a proxy cannot reach the target (502, 503, 504) or refuses to (all others). */
function isUnreachableThroughProxy(code: string, message: string): boolean {
  return code === 'UND_ERR_ABORTED' && /^Proxy response \(50[234]\)/.test(message);
}

const compiled = new WeakMap<BreakerConfig['failureStatuses'], ReadonlySet<number>>();
// Most breakers of a process have one list, and a WeakMap costs more than all the rest of judging a status.
let lastList: BreakerConfig['failureStatuses'] | undefined;
let lastSet: ReadonlySet<number>;

export function isFailureStatus({ failureStatuses }: BreakerConfig, status: number): boolean {
  if (failureStatuses !== lastList) {
    let set = compiled.get(failureStatuses);
    if (set === undefined) compiled.set(failureStatuses, (set = expand(failureStatuses)));
    lastList = failureStatuses;
    lastSet = set;
  }
  return lastSet.has(status);
}

/** Whether a status is a good one, whatever the headers beside it say. */
export function isGoodStatus(config: BreakerConfig, status: number): boolean {
  return status < LOWEST_OF_ERRORS && !isFailureStatus(config, status);
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

/**
 * What `Retry-After` says of a wait in milliseconds: whole seconds (RFC 9110), rounded up, so that nobody comes too early.
 * At least 1: 0 would mean "at once", which is what nobody should do now.
 */
export function retryAfterSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}

function number(value: string | undefined): number | undefined {
  return value !== undefined && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) : undefined;
}
