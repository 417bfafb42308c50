import { findInChain } from '../breaker/error-chain.js';
import { read, readText } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';
import { meaningOfCode, VERDICT_OF_MEANING } from './network-codes.js';
import { saysTimeout } from './timeouts.js';

/** What an error of nodemailer says of the mail server; `ignored` where it says nothing. */
export function verdictOfSmtpError(error: unknown): Verdict {
  return findInChain(error, verdictOfItself) ?? 'ignored';
}

/** As `verdictOfSmtpError`, of an error itself; `undefined` where it is none that nodemailer makes of a conversation. */
export function knownVerdictOfSmtpError(error: object): Verdict | undefined {
  return typeof read(error, 'command') === 'string' && CODES.has(readText(error, 'code'))
    ? verdictOfItself(error)
    : undefined;
}

// https://nodemailer.com/errors; those of a message that was never sent are not here, and say nothing.
const CODES: ReadonlyMap<string, Verdict> = new Map<string, Verdict>([
  ['ECONNECTION', 'failure'],
  ['ESOCKET', 'failure'],
  ['EDNS', 'failure'],
  ['ETLS', 'failure'],
  ['EPROTOCOL', 'failure'],
  ['EPROXY', 'failure'],
  ['ETIMEDOUT', 'timeout'],
  // Without a reply of the server: no credentials, no recipient, too large.
  ['EAUTH', 'ignored'],
  ['EENVELOPE', 'ignored'],
  ['EMESSAGE', 'ignored'],
]);

// Before version 10 a connection that the server closes unasked has no code, nor has a message that was tried too often then.
const LOST_BEFORE_10: ReadonlySet<string> = new Set([
  'Unexpected socket close',
  'Reached maximum number of retries after connection was closed',
]);

// RFC 5321, 3.8: the server is about to close the connection, whatever it was asked.
const CLOSING = 421;
// A server that wants to see the same message again later is well.
const GREYLISTED = /gr[ae]y-?list/i;

function verdictOfItself(error: object): Verdict | undefined {
  const code = readText(error, 'code');
  // A rejection of ours: what it stands for was counted there.
  if (code === 'ERR_CIRCUIT_OPEN') return 'ignored';
  const command = readText(error, 'command');
  const reply = read(error, 'responseCode');
  if (typeof reply === 'number') return verdictOfReply(reply, code, command, readText(error, 'response'));
  // Nodemailer could not be asked so: an empty message, a connection that the application has closed.
  if (command === 'API') return 'ignored';
  if (saysTimeout(error)) return 'timeout';
  // What the operating system said, where nodemailer has put its own code in that place.
  const meaning = meaningOfCode({ ...error, code: read(error, 'originalCode') ?? systemCodeIn(error) });
  if (meaning !== undefined) return VERDICT_OF_MEANING[meaning];
  return code === '' && LOST_BEFORE_10.has(readText(error, 'message')) ? 'failure' : CODES.get(code);
}

function verdictOfReply(reply: number, code: string, command: string, text: string): Verdict {
  if (reply === CLOSING) return 'failure';
  const isForNow = reply >= 400 && reply < 500;
  // A refused login says nothing of the server's health, and a probe that gets no further must not close the circuit.
  if (code === 'EAUTH') return isForNow ? 'failure' : 'ignored';
  // No service here, in place of a greeting.
  if (command === 'CONN') return 'failure';
  if (!isForNow) return 'success';
  // Later, for this recipient or this sender: no word on the server.
  return command === 'RCPT TO' || GREYLISTED.test(text) ? 'ignored' : 'failure';
}

/** Before version 10 only the message has it: `connect ECONNREFUSED 127.0.0.1:25`. */
function systemCodeIn(error: object): string | undefined {
  return read(error, 'syscall') === undefined ? undefined : /\bE[A-Z0-9]{3,}\b/.exec(readText(error, 'message'))?.[0];
}
