import { findInChain } from '../breaker/error-chain.js';
import { read, readText } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';
import { meaningOfCode, VERDICT_OF_MEANING } from './network-codes.js';
import { saysTimeout } from './timeouts.js';

/**
 * What an error of mysql2 says of the server; `ignored` where it says nothing.
 *
 * @param connecting whether the error came before the connection was there: the server then refused us, or was not there
 */
export function verdictOfMysqlError(error: unknown, connecting = false): Verdict {
  return findInChain(error, (part) => verdictOfItself(part, connecting)) ?? 'ignored';
}

/** As `verdictOfMysqlError`, of an error itself; `undefined` where it is none that mysql2 makes. */
export function knownVerdictOfMysqlError(error: object): Verdict | undefined {
  const code = readText(error, 'code');
  return VERDICTS.has(code) || code.startsWith('ER_') ? verdictOfItself(error, false) : undefined;
}

/** Whether an error says that a connection that was there is no more: reset, closed, or its server going down. */
export function isLostMysqlConnection(error: unknown): boolean {
  return findInChain(error, (part) => LOSSES.has(readText(part, 'code')) || undefined) ?? false;
}

const LOSSES: ReadonlySet<string> = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'ECONNRESET',
  'EPIPE',
  'ER_SERVER_SHUTDOWN',
  'ER_NORMAL_SHUTDOWN',
  'ER_CONNECTION_KILLED',
  'ER_CLIENT_INTERACTION_TIMEOUT',
]);

// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html, https://mariadb.com/kb/en/mariadb-error-codes/
const VERDICTS: ReadonlyMap<string, Verdict> = new Map<string, Verdict>([
  ['PROTOCOL_CONNECTION_LOST', 'failure'],
  ['PROTOCOL_ERROR', 'failure'],
  ['PROTOCOL_UNEXPECTED_PACKET', 'failure'],
  ['HANDSHAKE_SSL_ERROR', 'failure'],
  ['HANDSHAKE_NO_SSL_SUPPORT', 'failure'],
  ['HANDSHAKE_UNKNOWN_ERROR', 'failure'],
  ['PROTOCOL_SEQUENCE_TIMEOUT', 'timeout'],
  ['ER_CON_COUNT_ERROR', 'failure'], // too many connections
  ['ER_TOO_MANY_USER_CONNECTIONS', 'failure'],
  ['ER_USER_LIMIT_REACHED', 'failure'],
  ['ER_OUTOFMEMORY', 'failure'],
  ['ER_OUT_OF_RESOURCES', 'failure'],
  ['ER_SERVER_SHUTDOWN', 'failure'],
  ['ER_NORMAL_SHUTDOWN', 'failure'],
  ['ER_CONNECTION_KILLED', 'failure'],
  ['ER_ERROR_ON_READ', 'failure'],
  ['ER_ERROR_ON_WRITE', 'failure'],
  ['ER_QUERY_TIMEOUT', 'timeout'], // max_execution_time of MySQL
  ['ER_STATEMENT_TIMEOUT', 'timeout'], // max_statement_time of MariaDB
  ['ER_CLIENT_INTERACTION_TIMEOUT', 'ignored'],
  ['ER_DISK_FULL', 'ignored'],
  ['ER_LOCK_DEADLOCK', 'ignored'],
  ['ER_LOCK_WAIT_TIMEOUT', 'ignored'],
  ['ER_LOCK_NOWAIT', 'ignored'],
  ['ER_QUERY_INTERRUPTED', 'ignored'],
  // A replica, or a mistake.
  ['ER_OPTION_PREVENTS_STATEMENT', 'ignored'],
  ['ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION', 'ignored'],
  ['ER_READ_ONLY_MODE', 'ignored'],
  // A refused login.
  ['ER_ACCESS_DENIED_ERROR', 'ignored'],
  ['ER_DBACCESS_DENIED_ERROR', 'ignored'],
  ['ER_HOST_IS_BLOCKED', 'ignored'],
  ['ER_HOST_NOT_PRIVILEGED', 'ignored'],
  ['ER_BAD_DB_ERROR', 'ignored'],
]);

function verdictOfItself(error: object, connecting: boolean): Verdict | undefined {
  const code = read(error, 'code');
  if (typeof code === 'string') {
    // A rejection of ours, of the host name's or password's service perhaps: what it stands for was counted there.
    if (code === 'ERR_CIRCUIT_OPEN') return 'ignored';
    const verdict = VERDICTS.get(code);
    if (verdict !== undefined) return verdict;
    const meaning = meaningOfCode(error);
    if (meaning !== undefined) return VERDICT_OF_MEANING[meaning];
    // A refused login says nothing of the server's health, and a probe that gets no further must not close the circuit.
    if (code.startsWith('ER_')) return connecting ? 'ignored' : 'success';
  }
  // Codes that mysql2 knows no name for have their number only.
  const errno = read(error, 'errno');
  if (typeof errno === 'number' && errno >= 1_000) return connecting ? 'ignored' : (BY_NUMBER.get(errno) ?? 'success');
  return saysTimeout(error) ? 'timeout' : undefined;
}

const BY_NUMBER: ReadonlyMap<number, Verdict> = new Map<number, Verdict>([
  [1927, 'failure'], // ER_CONNECTION_KILLED of MariaDB
  [1969, 'timeout'], // ER_STATEMENT_TIMEOUT of MariaDB
]);
