import { classification } from '../breaker/classification.js';
import type { BreakerConfig } from '../breaker/config.js';
import { findInChain } from '../breaker/error-chain.js';
import { streams } from '../breaker/run.js';
import { isObject, read, readText } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';
import { verdictOfGrpcError } from './grpc.js';
import { knownVerdictOfHttp2Error } from './http2.js';
import { askedWaitMs, meantStatus, verdictOfStatus, type HeaderReader } from './http.js';
import { knownVerdictOfMongoError } from './mongodb.js';
import { knownVerdictOfMysqlError } from './mysql.js';
import { isBadInput, isOwnTrouble, isUnreachable } from './network-codes.js';
import { verdictOfDatabaseError, verdictOfDatabaseMessage } from './postgresql.js';
import { knownVerdictOfRedisError, verdictOfRedisMessage } from './redis.js';
import { knownVerdictOfSmtpError } from './smtp.js';
import { settleIfStream } from './stream-outcome.js';
import { endOf, isAbort } from './timeouts.js';

/**
 * What an error says that a function ended with, of which only this is known: breakers in code, `protect()`, wrappers,
 * middleware. The same error means the same as to the instrumentations, but for one of an unknown kind: a failure here.
 *
 * @param signal what the caller could give up with
 */
export function classify(error: unknown, config: BreakerConfig, signal?: AbortSignal): Verdict {
  const plain = signal?.aborted === true ? undefined : classifyPlain(error, config);
  if (plain !== undefined) return plain;
  // What a rejection of ours stands for was counted by its own breaker.
  if (isRejection(error)) return 'ignored';
  const answer = answerOf(error);
  if (answer !== undefined) return verdictOfStatus(config, answer.status);
  if (signal?.aborted === true)
    return endOf(signal.reason) === 'timeout' || endOf(error) === 'timeout' ? 'timeout' : 'ignored';
  const said = findInChain(
    error,
    (part) =>
      verdictOfGrpcError(part) ??
      knownVerdictOfHttp2Error(part) ??
      knownVerdictOfRedisError(part) ??
      knownVerdictOfMysqlError(part) ??
      knownVerdictOfMongoError(part) ??
      knownVerdictOfSmtpError(part) ??
      verdictOfDatabaseError(part, config.preset === 'database'),
  );
  if (said !== undefined) return said;
  const end = endOf(error);
  if (end !== 'failure') return end === 'timeout' ? 'timeout' : 'ignored';
  return isOwnTrouble(error) || isBadInput(error) ? 'ignored' : 'failure';
}

/** As `classify`, of an error that says nothing but a message; `undefined` of any other. */
export function classifyPlain(error: unknown, config: BreakerConfig): Verdict | undefined {
  const message = plainMessageOf(error);
  if (message === undefined) return undefined;
  return verdictOfRedisMessage(message) ?? verdictOfDatabaseMessage(message, config.preset === 'database') ?? 'failure';
}

/**
 * The message of an error that says nothing else: most errors that a function throws are such. Asking all tables takes ten
 * times as long as to see that they have nothing to go by.
 */
function plainMessageOf(error: unknown): string | undefined {
  try {
    if (!(error instanceof Error)) return undefined;
    const { constructor, name, message, cause, code } = error as Error & { code?: unknown };
    if (constructor !== Error || name !== 'Error' || cause !== undefined || code !== undefined) return undefined;
    if (typeof message !== 'string') return undefined;
    // What clients have added, of whatever name.
    for (const _ in error) return undefined;
    return message;
  } catch {
    // A getter of it throws.
    return undefined;
  }
}

/** Whether an error that is ignored is so because the caller gave up, and not for what the call was like. */
export function hasGivenUp(error: unknown, signal?: AbortSignal): boolean {
  return (signal?.aborted === true || isAbort(error)) && !isRejection(error) && answerOf(error) === undefined;
}

/** How long the answer that an error stands for asked to be left alone, in milliseconds, where the breaker honours that. */
export function askedWaitOf(error: unknown, config: BreakerConfig): number | undefined {
  if (!config.honorRetryAfter) return undefined;
  const answer = answerOf(error);
  return answer && askedWaitMs(config, answer.status, answer.header);
}

function isRejection(error: unknown): boolean {
  return findInChain(error, (part) => (read(part, 'code') === 'ERR_CIRCUIT_OPEN' ? true : undefined)) !== undefined;
}

interface Answer {
  readonly status: number;
  readonly header: HeaderReader;
}

/** The answer that the error of an HTTP client stands for; of several along its causes the first. */
function answerOf(error: unknown): Answer | undefined {
  return findInChain(error, answerOfItself);
}

function answerOfItself(error: object): Answer | undefined {
  const response = objectAt(error, 'response');
  // The AWS SDK has them in places of its own.
  const status = statusAt(error) ?? statusAt(response) ?? statusAt(objectAt(error, '$metadata'), 'httpStatusCode');
  if (status === undefined) return undefined;
  const own = objectAt(error, 'headers');
  const others = objectAt(response, 'headers') ?? objectAt(objectAt(error, '$response'), 'headers');
  const header: HeaderReader = (name) => headerAt(own, name) ?? headerAt(others, name);
  // The name of an error of AWS is its code: SlowDown, ThrottlingException.
  return { status: meantStatus(status, header, readText(error, 'name')), header };
}

/** A status from 300 on: below are answers that were good, so that something else went wrong, and exit codes of processes. */
function statusAt(object: object | undefined, key?: string): number | undefined {
  if (object === undefined) return undefined;
  for (const name of key === undefined ? ['status', 'statusCode'] : [key]) {
    const status = read(object, name);
    if (Number.isInteger(status) && (status as number) >= 300 && (status as number) <= 599) return status as number;
  }
  return undefined;
}

function objectAt(object: object | undefined, key: string): object | undefined {
  const value = object && read(object, key);
  return isObject(value) ? value : undefined;
}

/** One of a plain object of headers, or of `Headers`. */
function headerAt(headers: object | undefined, name: string): string | undefined {
  if (headers === undefined) return undefined;
  let value = read(headers, name);
  const get = read(headers, 'get');
  if (value === undefined && typeof get === 'function') {
    try {
      value = Reflect.apply(get, headers, [name]) as unknown;
    } catch {
      return undefined;
    }
  }
  const one: unknown = Array.isArray(value) ? value[0] : value;
  return typeof one === 'string' || typeof one === 'number' ? String(one) : undefined;
}

/** From now on breakers judge errors as the tables of this folder do. */
export function installOutcomes(): void {
  Object.assign(classification, {
    classify,
    classifyPlain,
    hasGivenUp,
    askedWait: askedWaitOf,
    isOwnTrouble,
    isUnreachable,
  });
  streams.settleAtEnd = settleIfStream;
}
