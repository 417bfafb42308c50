import { findCause, MAX_CAUSES } from '../breaker/errors.js';

const TIMEOUT_CODES: ReadonlySet<unknown> = new Set([
  'ETIMEDOUT',
  'ESOCKETTIMEDOUT',
  'ERR_SOCKET_CONNECTION_TIMEOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]);

/** Whether an error, or one of its causes, says that time ran out: `AbortSignal.timeout()` included. */
export function isTimeout(error: unknown): boolean {
  return endOf(error) === 'timeout';
}

const OWN_TROUBLE_CODES: ReadonlySet<unknown> = new Set([
  // No file descriptors left, in the process or the machine; no memory; no local ports.
  'EMFILE',
  'ENFILE',
  'ENOMEM',
  'ENOBUFS',
  'EADDRNOTAVAIL',
]);

/** Whether an error, or one of its causes, says that our own machine could not make the call. */
export function isOwnTrouble(error: unknown): boolean {
  return findCause(error, isOwnTroubleItself) !== undefined;
}

function isOwnTroubleItself(error: unknown): error is Error {
  return OWN_TROUBLE_CODES.has((error as { code?: unknown }).code);
}

/** Whether an error says that the caller gave up. A timeout is not one, although it too arrives as an abort. */
export function isAbort(error: unknown): boolean {
  return endOf(error) === 'abort';
}

/** What an error and its causes say of how a call ended: that time ran out, that the caller gave up, or that it failed. */
export function endOf(error: unknown): 'timeout' | 'abort' | 'failure' {
  let end: 'abort' | 'failure' = 'failure';
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && current !== null && typeof current === 'object'; depth++) {
    const { name, code, cause } = current as { name?: unknown; code?: unknown; cause?: unknown };
    if (name === 'TimeoutError' || (code !== undefined && TIMEOUT_CODES.has(code))) return 'timeout';
    if (name === 'AbortError' || code === 'ABORT_ERR') end = 'abort';
    current = cause;
  }
  return end;
}
