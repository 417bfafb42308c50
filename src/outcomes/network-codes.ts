import { findInChain } from '../breaker/error-chain.js';
import { isObject, read } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';

/**
 * What a code of Node, the operating system, TLS, DNS or undici says of a call:
 *
 * - `unreachable`: no connection was made, so that the target has not been heard at all
 * - `failure`: the target, or the way to it, is in trouble
 * - `timeout`: time ran out
 * - `own_trouble`: our own machine could not make the call
 * - `bad_input`: the call was made wrongly
 */
export type CodeMeaning = 'unreachable' | 'failure' | 'timeout' | 'own_trouble' | 'bad_input';

const CODES: ReadonlyMap<unknown, CodeMeaning> = new Map<unknown, CodeMeaning>([
  ['ECONNREFUSED', 'unreachable'],
  ['ENOTFOUND', 'unreachable'],
  ['EHOSTDOWN', 'unreachable'],
  ['EHOSTUNREACH', 'unreachable'],
  ['ENETDOWN', 'unreachable'],
  ['ENETUNREACH', 'unreachable'],
  ['UND_ERR_PRX_CONN', 'unreachable'],
  ['EDNS', 'unreachable'], // nodemailer

  ['ECONNRESET', 'failure'],
  ['ENETRESET', 'failure'],
  ['ESOCKET', 'failure'], // nodemailer
  ['ENOTCONN', 'failure'],
  ['EPIPE', 'failure'],
  ['EPROTO', 'failure'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'failure'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'failure'],
  ['HOSTNAME_MISMATCH', 'failure'],
  ['ERR_HTTP2_ERROR', 'failure'], // what came was no HTTP/2, as from a proxy that answers by HTTP/1.1
  ['ERR_HTTP2_STREAM_ERROR', 'failure'],
  ['ERR_HTTP2_SESSION_ERROR', 'failure'],
  ['HTTP2WRAPPER_NOSETTINGS', 'failure'],
  ['ERR_STREAM_PREMATURE_CLOSE', 'failure'],
  ['UND_ERR_SOCKET', 'failure'],
  ['UND_ERR_PRX_TLS', 'failure'],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'failure'],

  ['ETIMEDOUT', 'timeout'],
  ['ESOCKETTIMEDOUT', 'timeout'],
  ['ERR_SOCKET_CONNECTION_TIMEOUT', 'timeout'],
  ['UND_ERR_CONNECT_TIMEOUT', 'timeout'],
  ['UND_ERR_HEADERS_TIMEOUT', 'timeout'],
  ['UND_ERR_BODY_TIMEOUT', 'timeout'],

  // No file descriptors left, in the process or the machine; no memory; no local ports.
  ['EMFILE', 'own_trouble'],
  ['ENFILE', 'own_trouble'],
  ['ENOMEM', 'own_trouble'],
  ['ENOBUFS', 'own_trouble'],
  ['EADDRNOTAVAIL', 'own_trouble'],

  ['ERR_UNESCAPED_CHARACTERS', 'bad_input'],
  ['ERR_HTTP_INVALID_HEADER_VALUE', 'bad_input'],
  ['UND_ERR_INVALID_ARG', 'bad_input'],
]);

// A unix socket that no server has made, or that we may not open. Of a file they say something else.
const UNIX_SOCKET_CODES: ReadonlySet<unknown> = new Set(['ENOENT', 'EACCES', 'EPERM']);

// Parse errors of answers, TLS, certificates (UNABLE_TO_VERIFY_LEAF_SIGNATURE), SOCKS.
const FAILURE_FAMILY = /^(HPE_|ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|UND_ERR_SOCKS5)/;

/** What the code of an error itself says; `undefined` where it has none, or one that is not of the network. */
export function meaningOfCode(error: object): CodeMeaning | undefined {
  const code = read(error, 'code');
  if (typeof code !== 'string') return undefined;
  const meaning = CODES.get(code);
  if (meaning !== undefined) return meaning;
  // The operating system names its call; axios and superagent use the code for their own timeout.
  if (code === 'ECONNABORTED') return read(error, 'syscall') === undefined ? 'timeout' : 'failure';
  if (UNIX_SOCKET_CODES.has(code)) return read(error, 'syscall') === 'connect' ? 'unreachable' : undefined;
  if (code.startsWith('EAI_')) return 'unreachable';
  if (FAILURE_FAMILY.test(code)) return 'failure';
  return code.startsWith('ERR_INVALID_') ? 'bad_input' : undefined;
}

/** What each meaning says of the target. */
export const VERDICT_OF_MEANING: Readonly<Record<CodeMeaning, Verdict>> = {
  unreachable: 'failure',
  failure: 'failure',
  timeout: 'timeout',
  own_trouble: 'ignored',
  bad_input: 'ignored',
};

// Node's words for a connection that was lost before TLS had secured it; the code is ECONNRESET.
const LOST_BEFORE_TLS = 'Client network socket disconnected before secure TLS connection was established';

const MAX_DEPTH = 8;

/**
 * Whether an error, or one of its causes, says that no connection could be made: refused, reset or timed out while
 * connecting, DNS, no route. An error of several, one for each address of a host, says so where all of them do.
 */
export function isUnreachable(error: unknown, depth = MAX_DEPTH): boolean {
  if (!isObject(error) || depth === 0) return false;
  if (saysUnreachable(error)) return true;
  const parts = read(error, 'errors');
  if (Array.isArray(parts) && parts.length > 0 && parts.length < MAX_PARTS) {
    return parts.every((part) => isUnreachable(part, depth - 1));
  }
  return isUnreachable(read(error, 'cause'), depth - 1);
}

// More addresses than this no host has: what has more of them is not read.
const MAX_PARTS = 64;

function saysUnreachable(error: object): boolean {
  const meaning = meaningOfCode(error);
  if (meaning === 'unreachable') return true;
  if (meaning !== 'failure' && meaning !== 'timeout') return false;
  return (
    read(error, 'syscall') === 'connect' ||
    read(error, 'code') === 'UND_ERR_CONNECT_TIMEOUT' ||
    read(error, 'message') === LOST_BEFORE_TLS
  );
}

/** Whether an error, or one of its causes, says that our own machine could not make the call. */
export function isOwnTrouble(error: unknown): boolean {
  return findInChain(error, (part) => (meaningOfCode(part) === 'own_trouble' ? true : undefined)) !== undefined;
}

/** Whether an error, or one of its causes, says that the call was made wrongly. */
export function isBadInput(error: unknown): boolean {
  return findInChain(error, (part) => (meaningOfCode(part) === 'bad_input' ? true : undefined)) !== undefined;
}
