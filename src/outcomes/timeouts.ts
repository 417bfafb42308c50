import { findInChain, namesOf } from '../breaker/error-chain.js';
import { read } from '../breaker/values.js';
import { meaningOfCode } from './network-codes.js';

// node-fetch 2 says it in a property of its own.
const TIMEOUT_TYPES: ReadonlySet<unknown> = new Set(['request-timeout', 'body-timeout']);

// axios: CanceledError; openai and @anthropic-ai/sdk: APIUserAbortError; got before version 15: CancelError.
const ABORT_NAMES: ReadonlySet<string> = new Set(['AbortError', 'CanceledError', 'CancelError', 'APIUserAbortError']);
const ABORT_CODES: ReadonlySet<unknown> = new Set(['ABORT_ERR', 'ERR_ABORTED', 'ERR_CANCELED']);

/** Whether an error, or one of its causes, says that time ran out: `AbortSignal.timeout()` included. */
export function isTimeout(error: unknown): boolean {
  return findInChain(error, (part) => (saysTimeout(part) ? true : undefined)) !== undefined;
}

/** Whether an error, or one of its causes, says that the caller gave up. A timeout is not one, although it too arrives as an abort. */
export function isAbort(error: unknown): boolean {
  return endOf(error) === 'abort';
}

/** What an error and its causes say of how a call ended: that time ran out, that the caller gave up, or that it failed. */
export function endOf(error: unknown): 'timeout' | 'abort' | 'failure' {
  let aborted = false;
  const timedOut = findInChain(error, (part) => {
    if (saysTimeout(part)) return true;
    aborted ||= saysAbort(part);
    return undefined;
  });
  if (timedOut) return 'timeout';
  return aborted ? 'abort' : 'failure';
}

/** Whether an error itself, its causes aside, says that time ran out. */
export function saysTimeout(error: object): boolean {
  return (
    namesOf(error).some((name) => name.endsWith('TimeoutError')) ||
    TIMEOUT_TYPES.has(read(error, 'type')) ||
    meaningOfCode(error) === 'timeout'
  );
}

function saysAbort(error: object): boolean {
  return namesOf(error).some((name) => ABORT_NAMES.has(name)) || ABORT_CODES.has(read(error, 'code'));
}
