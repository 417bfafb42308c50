import { findInChain, namesOf } from '../breaker/error-chain.js';
import { read, readText } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';
import { meaningOfCode, VERDICT_OF_MEANING } from './network-codes.js';
import { saysTimeout } from './timeouts.js';

/**
 * What an error of pg says of the server; `ignored` where it says nothing.
 *
 * @param connecting whether the error came before the connection was there: the server then refused us, or was not there
 */
export function verdictOfPgError(error: unknown, connecting = false): Verdict {
  return findInChain(error, (part) => verdictOfItself(part, connecting)) ?? 'ignored';
}

/** Whether an error of a connection that was there says that it is no more: reset, closed, or its server going down. */
export function isLostConnection(error: unknown): boolean {
  return findInChain(error, (part) => isLossItself(part) || undefined) ?? false;
}

function isLossItself(error: object): boolean {
  return LOSSES.has(readText(error, 'code')) || readText(error, 'message') === TERMINATED;
}

const TERMINATED = 'Connection terminated unexpectedly';
// admin_shutdown, crash_shutdown
const LOSSES: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', '57P01', '57P02']);

/**
 * What an error itself says that may be one of PostgreSQL; `undefined` where it is not.
 *
 * @param byOrigin it comes from a database: its code need not look like one of PostgreSQL's by the rest of the error
 */
export function verdictOfDatabaseError(error: object, byOrigin: boolean): Verdict | undefined {
  return byOrigin || looksLikePostgres(error)
    ? verdictOfItself(error, false)
    : MESSAGES.get(readText(error, 'message'));
}

/** As `verdictOfDatabaseError`, of an error that says nothing but its message. */
export function verdictOfDatabaseMessage(message: string, byOrigin: boolean): Verdict | undefined {
  return byOrigin && message.startsWith(NOT_POSTGRES) ? 'failure' : MESSAGES.get(message);
}

// pg says DatabaseError, postgres.js PostgresError, Prisma PrismaClientKnownRequestError; TypeORM copies their properties.
const CLASS = /^(DatabaseError|PostgresError|PrismaClient\w+)$/;

function looksLikePostgres(error: object): boolean {
  if (!SQLSTATE.test(readText(error, 'code'))) return false;
  return readText(error, 'severity') !== '' || namesOf(error).some((name) => CLASS.test(name));
}

function verdictOfItself(error: object, connecting: boolean): Verdict | undefined {
  const code = read(error, 'code');
  const message = readText(error, 'message');
  if (typeof code === 'string') {
    // A rejection of ours, of the host name's or password's service perhaps: what it stands for was counted there.
    if (code === 'ERR_CIRCUIT_OPEN') return 'ignored';
    // Codes of Node first: EPIPE has the five letters of an SQLSTATE.
    const meaning = meaningOfCode(error);
    if (meaning !== undefined) return VERDICT_OF_MEANING[meaning];
    if (PRISMA.test(code)) return PRISMA_VERDICTS.get(code) ?? (code.startsWith('P1') ? 'ignored' : 'success');
    if (SQLSTATE.test(code)) return verdictOfState(code, message, connecting);
  }
  if (saysTimeout(error)) return 'timeout';
  return verdictOfDatabaseMessage(message, true);
}

// pg's own errors have no code. Those it makes where its own side is the reason are not among them.
const MESSAGES: ReadonlyMap<string, Verdict> = new Map([
  [TERMINATED, 'failure'],
  ['There was an error establishing an SSL connection', 'failure'],
  ['Query read timeout', 'timeout'],
  ['timeout expired', 'timeout'],
  ['Connection terminated due to connection timeout', 'timeout'],
]);

// What is there speaks something else.
const NOT_POSTGRES = 'received invalid response: ';

const SQLSTATE = /^(?=.*\d)[0-9A-Z]{5}$/;

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const FAILURE_STATES: ReadonlySet<string> = new Set([
  '53000', // insufficient_resources
  '53200', // out_of_memory
  '53300', // too_many_connections
  '53400', // configuration_limit_exceeded
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '58000', // system_error
  '58030', // io_error
]);

const NEUTRAL_STATES: ReadonlySet<string> = new Set([
  '25006', // read_only_sql_transaction: a standby, or a mistake
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '53100', // disk_full
  '55P03', // lock_not_available
]);

// https://www.prisma.io/docs/orm/reference/error-reference. PostgreSQL has the class P0 only.
const PRISMA = /^P[1-6]\d{3}$/;
const PRISMA_VERDICTS: ReadonlyMap<string, Verdict> = new Map<string, Verdict>([
  ['P1001', 'failure'], // cannot reach the server
  ['P1002', 'timeout'], // reached, but it did not answer
  ['P1008', 'timeout'], // operations timed out
  ['P1011', 'failure'], // TLS
  ['P1017', 'failure'], // the server has closed the connection
  ['P2024', 'ignored'], // no connection free in the pool of our own process
  ['P2034', 'ignored'], // write conflict or deadlock
  ['P2037', 'failure'], // too many connections
]);

const QUERY_CANCELED = '57014';
// invalid_authorization_specification, invalid_catalog_name: what a server says to refuse a login.
const LOGIN_STATE = /^(28|3D)/;

function verdictOfState(state: string, message: string, connecting: boolean): Verdict {
  if (FAILURE_STATES.has(state) || state.startsWith('08')) return 'failure';
  if (state === QUERY_CANCELED) return message.includes('statement timeout') ? 'timeout' : 'ignored';
  if (NEUTRAL_STATES.has(state)) return 'ignored';
  // A refused login says nothing of the server's health, and a probe that gets no further must not close the circuit.
  return connecting || LOGIN_STATE.test(state) ? 'ignored' : 'success';
}
