import { isTimeout } from './endings.js';
import type { Verdict } from '../breaker/verdict.js';

/** @param connecting whether the error came before the connection was there: the server then refused us, or was not there */
export function verdictOfPgError(error: unknown, connecting = false): Verdict {
  return verdictOfAny(error, connecting, MAX_DEPTH) ?? 'ignored';
}

const MAX_DEPTH = 8;

/** The verdict of an error, else of the errors it is made of (one for each address of a host), else of its cause. */
function verdictOfAny(error: unknown, connecting: boolean, depth: number): Verdict | undefined {
  if (error === null || typeof error !== 'object' || depth === 0) return undefined;
  const { errors, cause } = error as { errors?: unknown; cause?: unknown };
  const own = verdictOfItself(error, connecting);
  if (own !== undefined) return own;
  for (const part of Array.isArray(errors) ? errors : []) {
    const verdict = verdictOfAny(part, connecting, depth - 1);
    if (verdict !== undefined) return verdict;
  }
  return verdictOfAny(cause, connecting, depth - 1);
}

function verdictOfItself(error: object, connecting: boolean): Verdict | undefined {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === 'string') {
    // A rejection of ours, of the host name's or password's service perhaps: what it stands for was counted there.
    if (code === 'ERR_CIRCUIT_OPEN') return 'ignored';
    if (isTimeout(error)) return 'timeout';
    // Codes of Node first: EPIPE has the five letters of an SQLSTATE.
    if (SOCKET_CODES.has(code) || TLS_CODE.test(code)) return 'failure';
    if (SQLSTATE.test(code)) return verdictOfState(code, String(message), connecting);
  }
  return String(message).startsWith(NOT_POSTGRES) ? 'failure' : MESSAGES.get(message);
}

const SOCKET_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENETRESET',
  'ENOTCONN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EAI_NODATA',
  // Of a unix socket: no server has made it.
  'ENOENT',
  'EPROTO',
]);

const TLS_CODE = /^(ERR_(SSL|TLS)_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;

// pg's own errors have no code. Those it makes where its own side is the reason are not among them.
const MESSAGES: ReadonlyMap<unknown, Verdict> = new Map([
  ['Connection terminated unexpectedly', 'failure'],
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

const QUERY_CANCELED = '57014';

function verdictOfState(state: string, message: string, connecting: boolean): Verdict {
  if (FAILURE_STATES.has(state) || state.startsWith('08')) return 'failure';
  if (state === QUERY_CANCELED) return message.includes('statement timeout') ? 'timeout' : 'ignored';
  if (NEUTRAL_STATES.has(state)) return 'ignored';
  // A refused login says nothing of the server's health, and a probe that gets no further must not close the circuit.
  return connecting ? 'ignored' : 'success';
}
