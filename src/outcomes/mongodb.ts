import { findInChain, namesOf } from '../breaker/error-chain.js';
import { read } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';
import { isAbort, isTimeout } from './timeouts.js';
import { isUnreachable, meaningOfCode, VERDICT_OF_MEANING } from './network-codes.js';

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const FAILURE_CODES: ReadonlySet<unknown> = new Set([
  6, // HostUnreachable
  7, // HostNotFound
  89, // NetworkTimeout
  91, // ShutdownInProgress
  189, // PrimarySteppedDown
  262, // ExceededTimeLimit, of the server's own
  462, // IngressRequestRateLimitExceeded
  9001, // SocketException
  10107, // NotWritablePrimary
  11600, // InterruptedAtShutdown
  11602, // InterruptedDueToReplStateChange
  13388, // StaleConfig
  13435, // NotPrimaryNoSecondaryOk
  13436, // NotPrimaryOrSecondary
]);
const TIMEOUT_CODES: ReadonlySet<unknown> = new Set([50]); // MaxTimeMSExpired
const NEUTRAL_CODES: ReadonlySet<unknown> = new Set([
  13, // Unauthorized
  18, // AuthenticationFailed
  24, // LockTimeout
  112, // WriteConflict
  251, // NoSuchTransaction
  11601, // Interrupted
]);

// By the names of classes, the nearest first.
const VERDICTS: ReadonlyMap<string, Verdict> = new Map<string, Verdict>([
  ['MongoNetworkTimeoutError', 'timeout'],
  ['MongoOperationTimeoutError', 'timeout'],
  ['MongoServerSelectionError', 'failure'],
  ['MongoPoolClearedError', 'failure'],
  ['PoolClearedOnNetworkError', 'failure'],
  ['MongoPoolClearedOnNetworkError', 'failure'],
  ['MongoNetworkError', 'failure'],
  // No connection free in the pool of our own process.
  ['MongoWaitQueueTimeoutError', 'ignored'],
  ['WaitQueueTimeoutError', 'ignored'],
]);

/** What the error of an operation of mongodb says of the deployment; `ignored` where it says nothing. */
export function verdictOfMongoError(error: unknown): Verdict {
  if (isAbort(error)) return 'ignored';
  return findInChain(error, verdictOfItself) ?? (isTimeout(error) ? 'timeout' : 'ignored');
}

/** As `verdictOfMongoError`, of an error itself; `undefined` where it is none that mongodb makes, or says nothing. */
export function knownVerdictOfMongoError(error: object): Verdict | undefined {
  return isOfMongo(error) ? verdictOfItself(error) : undefined;
}

function isOfMongo(error: object): boolean {
  return namesOf(error).some((name) => name.startsWith('Mongo'));
}

function verdictOfItself(error: object): Verdict | undefined {
  const code = read(error, 'code');
  if (code === 'ERR_CIRCUIT_OPEN') return 'ignored';
  for (const name of namesOf(error)) {
    const verdict = VERDICTS.get(name);
    if (verdict !== undefined) return verdict;
  }
  // What the server has answered has a number; errors of aborts have one as well.
  if (typeof code === 'number' && isOfMongo(error)) {
    if (FAILURE_CODES.has(code)) return 'failure';
    if (TIMEOUT_CODES.has(code)) return 'timeout';
    return NEUTRAL_CODES.has(code) ? 'ignored' : 'success';
  }
  const meaning = meaningOfCode(error);
  return meaning === undefined ? undefined : VERDICT_OF_MEANING[meaning];
}

/** Whether a server has answered that it cannot work, also where the client gave up by something else that followed from it. */
export function isRefusalOfMongo(error: unknown): boolean {
  return findInChain(error, (part) => (isOfMongo(part) && FAILURE_CODES.has(read(part, 'code'))) || undefined) ?? false;
}

/** Whether an operation ended since the client has found no server for as long as it was to look for one. */
export function isMongoOutOfPatience(error: unknown): boolean {
  return findInChain(error, (part) => namesOf(part).includes('MongoServerSelectionError') || undefined) ?? false;
}

/**
 * Whether a server could not be reached: no connection, or no answer to the question how it is. A connection that was there and is lost
 * says less: the attempts to have another one will tell.
 */
export function isUnreached(error: unknown): boolean {
  const isEarly = findInChain(
    error,
    (part) =>
      read(part, 'beforeHandshake') === true ||
      namesOf(part).includes('MongoNetworkTimeoutError') ||
      isOfHandshake(part) ||
      undefined,
  );
  return isEarly ?? isUnreachable(error);
}

/** Whether a connection was lost before its server had said what it is. */
function isOfHandshake(error: object): boolean {
  const labels = read(error, 'errorLabels');
  return namesOf(error).includes('MongoNetworkError') && Array.isArray(labels) && labels.includes('HandshakeError');
}

/** Whether an operation ended since its connection was lost. */
export function isLostMongoConnection(error: unknown): boolean {
  return (
    findInChain(error, (part) => {
      const names = namesOf(part);
      return names.includes('MongoNetworkError') || names.some((name) => name.includes('PoolCleared')) || undefined;
    }) ?? false
  );
}
