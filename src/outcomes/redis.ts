import { isTimeout } from './endings.js';
import type { Verdict } from '../breaker/verdict.js';

/** What has to be known besides the error itself. */
export interface Circumstances {
  /** The application itself has closed the connection. */
  readonly closedByUs: boolean;
  /** The connection has not been up yet, and not failed either. */
  readonly firstAttempt: boolean;
  /** The command takes long by design. */
  readonly blocking: boolean;
}

const CLOSED = 'Connection is closed.';

// The server says itself that it cannot work.
const FAILURE_REPLIES: ReadonlySet<string> = new Set(['LOADING', 'CLUSTERDOWN', 'MASTERDOWN', 'BUSY']);
// Neither a sign of health nor of illness: a full memory, a role, a redirection, the rights of the caller.
const NEUTRAL_REPLIES: ReadonlySet<string> = new Set([
  'OOM',
  'READONLY',
  'MOVED',
  'ASK',
  'TRYAGAIN',
  'NOAUTH',
  'WRONGPASS',
  'NOPERM',
  'MISCONF',
]);

// Of its connections' errors ioredis makes plain ones, without a code: what they say has to do.
const CLOSED_MESSAGES: ReadonlySet<string> = new Set([
  CLOSED,
  'Command aborted due to connection close',
  'None of startup nodes is available',
  'Cluster is ended.',
]);
const NOT_WRITABLE_MESSAGES: ReadonlySet<string> = new Set([
  "Stream isn't writeable and enableOfflineQueue options is false",
  "Cluster isn't ready and enableOfflineQueue options is false",
]);
const FAILURE_NAMES: ReadonlySet<string> = new Set([
  'MaxRetriesPerRequestError',
  'ClusterAllFailedError',
  'ParserError',
]);
const TIMEOUT_MESSAGE = /^(Command timed out|Socket timeout\. )/;
// ioredis asks for a report whenever it cannot read what came; each parser has its own words before that.
const FAILURE_MESSAGE = /^All sentinels are unreachable|\. Please report this\.?$/;
const REDIRECTIONS_MESSAGE = /^Too many Cluster redirections\. Last error: (?:\w*Error: )?(.*)/s;

/** What the error of a command says of the server. */
export function verdictOfRedisError(error: unknown, circumstances: Circumstances): Verdict {
  const { name, message, code } = error as NodeJS.ErrnoException;
  if (name === 'ReplyError') return verdictOfReply(message);
  if (TIMEOUT_MESSAGE.test(message)) return circumstances.blocking ? 'ignored' : 'timeout';
  if (CLOSED_MESSAGES.has(message)) return circumstances.closedByUs ? 'ignored' : 'failure';
  if (NOT_WRITABLE_MESSAGES.has(message)) {
    return circumstances.closedByUs || circumstances.firstAttempt ? 'ignored' : 'failure';
  }
  if (FAILURE_NAMES.has(name) || FAILURE_MESSAGE.test(message)) return 'failure';
  const lastError = REDIRECTIONS_MESSAGE.exec(message)?.[1];
  if (lastError !== undefined) return verdictOfReply(lastError) === 'ignored' ? 'ignored' : 'failure';
  if (isTimeout(error)) return 'timeout';
  // Errors of sockets, DNS and TLS have a code; those of wrong arguments have none, or one that says whose fault it is.
  return typeof code === 'string' && !code.startsWith('ERR_INVALID_ARG') ? 'failure' : 'ignored';
}

function verdictOfReply(message: string): Verdict {
  const end = message.indexOf(' ');
  const word = end === -1 ? message : message.slice(0, end);
  if (FAILURE_REPLIES.has(word)) return 'failure';
  return NEUTRAL_REPLIES.has(word) ? 'ignored' : 'success';
}

/** What the loss of a connection that was never ready says, by the error that it ended with. */
export function verdictOfConnection(error: Error | undefined): Verdict {
  if (error === undefined) return 'failure';
  if (error.name === 'ReplyError' && verdictOfReply(error.message) === 'ignored') return 'ignored';
  return isTimeout(error) || TIMEOUT_MESSAGE.test(error.message) ? 'timeout' : 'failure';
}

/** What the results of a pipeline say: one failure is enough, and one answer is better than none. */
export function verdictOfResults(
  results: readonly [Error | null, unknown?][],
  circumstances: Circumstances,
): [Verdict, unknown] {
  let best: Verdict = 'ignored';
  for (const [error] of results) {
    const verdict = error ? verdictOfRedisError(error, circumstances) : 'success';
    if (verdict === 'failure' || verdict === 'timeout') return [verdict, error];
    if (verdict === 'success') best = 'success';
  }
  return [best, undefined];
}

/** The reason of a connection that ended without one. */
export function connectionClosed(): Error {
  return new Error(CLOSED);
}
