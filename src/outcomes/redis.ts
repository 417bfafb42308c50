import { namesOf } from '../breaker/error-chain.js';
import { isObject, read, readText } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';
import { meaningOfCode, VERDICT_OF_MEANING } from './network-codes.js';
import { isTimeout } from './timeouts.js';

/** What has to be known besides the error itself. */
export interface Circumstances {
  /** The application itself has closed the connection. */
  readonly closedByUs: boolean;
  /** The connection has not been up yet, and not failed either. */
  readonly firstAttempt: boolean;
  /** The command takes long by design. */
  readonly blocking: boolean;
}

const NOTHING_KNOWN: Circumstances = { closedByUs: false, firstAttempt: false, blocking: false };

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
const LIMIT_OF_RETRIES = 'MaxRetriesPerRequestError';
const FAILURE_NAMES: ReadonlySet<string> = new Set([LIMIT_OF_RETRIES, 'ClusterAllFailedError', 'ParserError']);
const REDIRECTIONS = 'Too many Cluster redirections. Last error: ';
const LAST_ERROR = /^(?:\w*Error: )?(.*)/s;

// ioredis calls an error reply a ReplyError, node-redis a SimpleError, a BlobError or an ErrorReply.
const REPLY_NAMES: ReadonlySet<string> = new Set(['ReplyError', 'SimpleError', 'BlobError', 'ErrorReply']);

// What node-redis makes of its connections' errors, by the names of their classes.
const NODE_REDIS_VERDICTS: ReadonlyMap<string, Verdict> = new Map<string, Verdict>([
  ['SocketClosedUnexpectedlyError', 'failure'],
  ['ClientOfflineError', 'failure'],
  ['RootNodesUnavailableError', 'failure'],
  ['ReconnectStrategyError', 'failure'],
  ['MaxCommandRedirectionsError', 'failure'],
  ['ConnectionTimeoutError', 'timeout'],
  ['SocketTimeoutError', 'timeout'],
  ['SocketTimeoutDuringMaintenanceError', 'timeout'],
  ['CommandTimeoutDuringMaintenanceError', 'timeout'],
  // Somebody else has changed what the transaction was about: Redis has answered.
  ['WatchError', 'success'],
  ['DisconnectsClientError', 'ignored'],
]);

/** What the error of a command of ioredis says of the server; `ignored` where it says nothing. */
export function verdictOfRedisError(error: unknown, circumstances: Circumstances): Verdict {
  const known = knownVerdictOfRedisError(error, circumstances);
  if (known !== undefined || !isObject(error)) return known ?? 'ignored';
  const code = read(error, 'code');
  // Errors of sockets, DNS and TLS have a code; those of wrong arguments have none, or one that says whose fault it is.
  return typeof code === 'string' && !code.startsWith('ERR_INVALID_ARG') ? 'failure' : 'ignored';
}

/** As `verdictOfRedisError`; `undefined` where the error is neither a reply nor one that ioredis makes of its connection. */
export function knownVerdictOfRedisError(
  error: unknown,
  circumstances: Circumstances = NOTHING_KNOWN,
): Verdict | undefined {
  if (!isObject(error)) return undefined;
  const message = readText(error, 'message');
  if (isReply(error)) return verdictOfReply(message);
  const said = verdictOfRedisMessage(message, circumstances);
  if (said !== undefined) return said;
  if (namesOf(error).some((name) => FAILURE_NAMES.has(name))) return 'failure';
  return verdictOfNodeRedisItself(error) ?? (isTimeout(error) ? 'timeout' : undefined);
}

/** What the message of an error says that is no reply; `undefined` where it is not one of ioredis. */
export function verdictOfRedisMessage(
  message: string,
  circumstances: Circumstances = NOTHING_KNOWN,
): Verdict | undefined {
  if (isTimeoutMessage(message)) return circumstances.blocking ? 'ignored' : 'timeout';
  if (CLOSED_MESSAGES.has(message)) return circumstances.closedByUs ? 'ignored' : 'failure';
  if (NOT_WRITABLE_MESSAGES.has(message)) {
    return circumstances.closedByUs || circumstances.firstAttempt ? 'ignored' : 'failure';
  }
  if (isFailureMessage(message)) return 'failure';
  if (!message.startsWith(REDIRECTIONS)) return undefined;
  const lastError = LAST_ERROR.exec(message.slice(REDIRECTIONS.length))![1]!;
  return verdictOfReply(lastError) === 'ignored' ? 'ignored' : 'failure';
}

function isTimeoutMessage(message: string): boolean {
  return message.startsWith('Command timed out') || message.startsWith('Socket timeout. ');
}

function isFailureMessage(message: string): boolean {
  // ioredis asks for a report whenever it cannot read what came; each parser has its own words before that.
  return (
    message.startsWith('All sentinels are unreachable') ||
    message.endsWith('. Please report this.') ||
    message.endsWith('. Please report this')
  );
}

/** What the error of a command of node-redis says of the server; `ignored` where it says nothing. */
export function verdictOfNodeRedisError(error: unknown, blocking: boolean): Verdict {
  if (!isObject(error)) return 'ignored';
  if (isReply(error)) return verdictOfReply(readText(error, 'message'));
  const known = verdictOfNodeRedisItself(error);
  if (known !== undefined) return known;
  if (isTimeout(error)) return blocking ? 'ignored' : 'timeout';
  const meaning = meaningOfCode(error);
  return meaning === undefined ? 'ignored' : VERDICT_OF_MEANING[meaning];
}

/** What it says that a client of node-redis could not connect, or lost its connection; `ignored` where that is not what it says. */
export function verdictOfNodeRedisConnection(error: unknown): Verdict {
  // A server that answers a handshake with an error is none to work with.
  if (isObject(error) && isReply(error)) return verdictOfConnection(error as Error);
  const verdict = verdictOfNodeRedisError(error, false);
  return verdict === 'success' ? 'ignored' : verdict;
}

/** Whether a command of node-redis ended since its connection was lost. */
export function isLossOfNodeRedis(error: unknown): boolean {
  return (
    isObject(error) && (namesOf(error).includes('SocketClosedUnexpectedlyError') || meaningOfCode(error) === 'failure')
  );
}

/** Whether a command of node-redis has waited to be sent for as long as it may. */
export function isOutOfPatience(error: unknown): boolean {
  return isObject(error) && namesOf(error)[1] === 'TimeoutError';
}

function verdictOfNodeRedisItself(error: object): Verdict | undefined {
  for (const name of namesOf(error)) {
    const verdict = NODE_REDIS_VERDICTS.get(name);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

/** Whether an error is one that Redis has answered with. */
export function isReply(error: object): boolean {
  return namesOf(error).some((name) => REPLY_NAMES.has(name));
}

/** What an error reply says, by its first word. */
export function verdictOfReply(message: string): Verdict {
  const end = message.indexOf(' ');
  const word = end === -1 ? message : message.slice(0, end);
  if (FAILURE_REPLIES.has(word)) return 'failure';
  return NEUTRAL_REPLIES.has(word) ? 'ignored' : 'success';
}

/** What the loss of a connection that was never ready says, by the error that it ended with. */
export function verdictOfConnection(error: Error | undefined): Verdict {
  if (error === undefined) return 'failure';
  if (isReply(error) && verdictOfReply(error.message) === 'ignored') return 'ignored';
  return isTimeout(error) || isTimeoutMessage(readText(error, 'message')) ? 'timeout' : 'failure';
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

/** Whether a command ended since its connection was lost; the server may be as well as ever. */
export function isLossOfConnection(error: unknown): boolean {
  return CLOSED_MESSAGES.has((error as Error).message);
}

/** Whether a command ended since the client had tried to connect as often as it is to. */
export function isLimitOfRetries(error: unknown): boolean {
  return (error as Error).name === LIMIT_OF_RETRIES;
}

/** The reason of a connection that ended without one. */
export function connectionClosed(): Error {
  return new Error(CLOSED);
}
