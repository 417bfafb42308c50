import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type * as Zlib from 'node:zlib';
import { LimitedLog } from './limited-log.js';
import type { SharedAnswer } from './shared-answer.js';

/** On every answer: it is for whoever asked, it is what it says it is, and no other site may use or frame it. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};

// Whoever asks and never reads leaves the answer with us.
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
// A slow reader is still a reader: only one that never reads is cut off.
const TIME_TO_READ_MS = 5_000;
/** Answers that were given and not yet taken, the oldest first. */
const waiting = new Map<ServerResponse, { readonly bytes: Buffer; readonly since: number }>();
const failures = new LimitedLog('error');
// Shorter ones fit into one packet anyway.
const MIN_BYTES_TO_ZIP = 1_024;
const zips = new WeakMap<Buffer, Promise<Buffer>>();

export const JSON_TYPE = 'application/json; charset=utf-8';

export function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Buffer,
  headers: OutgoingHttpHeaders = {},
): void {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  response.writeHead(status, { ...SECURITY_HEADERS, 'content-type': type, 'content-length': bytes.length, ...headers });
  waiting.set(response, { bytes, since: performance.now() });
  response.once('close', () => waiting.delete(response));
  makeRoom(response);
  // Node leaves the body out of an answer to HEAD by itself.
  response.end(bytes);
}

/** Ends the connections that have had their answers for longest and do not take them, where too much waits to be sent. */
function makeRoom(newest: ServerResponse): void {
  const now = performance.now();
  // Of an answer that several share there is one copy.
  let total = 0;
  for (const bytes of new Set(Array.from(waiting.values(), (one) => one.bytes))) total += bytes.length;
  for (const [response, { bytes, since }] of waiting) {
    if (total <= MAX_WAITING_BYTES || response === newest || now - since < TIME_TO_READ_MS) return;
    waiting.delete(response);
    response.destroy();
    if (![...waiting.values()].some((other) => other.bytes === bytes)) total -= bytes.length;
  }
}

/**
 * Sends an answer that takes long to make, or 500 where it cannot be made.
 *
 * @param what it is, for the log
 */
export function sendShared(
  response: ServerResponse,
  what: string,
  type: string,
  answer: SharedAnswer,
  headers?: OutgoingHttpHeaders,
): void {
  answer
    .bytes()
    .then(async (bytes) => {
      const zips = bytes.length >= MIN_BYTES_TO_ZIP && takesGzip(response.req);
      const body = zips ? await zipped(bytes) : bytes;
      const vary = { vary: 'accept, accept-encoding', ...(zips && { 'content-encoding': 'gzip' }) };
      if (!response.destroyed) send(response, 200, type, body, { ...vary, ...headers });
    })
    .catch((error: unknown) => {
      failures.write(`${what} could not be written`, error);
      if (response.headersSent) response.destroy();
      else if (!response.destroyed) sendText(response, 500, `${what} could not be written. The log says why.\n`);
    });
}

function takesGzip({ headers }: IncomingMessage): boolean {
  return String(headers['accept-encoding'] ?? '')
    .split(',')
    .some((coding) => /^\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*$)|$)/i.test(coding));
}

/** Beside the event loop, and once for all who share the answer. */
function zipped(bytes: Buffer): Promise<Buffer> {
  let pending = zips.get(bytes);
  if (pending === undefined) {
    const { constants, gzip } = require('node:zlib') as typeof Zlib;
    pending = new Promise((resolve, reject) => {
      gzip(bytes, { level: constants.Z_BEST_SPEED }, (error, zip) => (error === null ? resolve(zip) : reject(error)));
    });
    zips.set(bytes, pending);
  }
  return pending;
}

export function sendText(response: ServerResponse, status: number, text: string, headers?: OutgoingHttpHeaders): void {
  send(response, status, 'text/plain; charset=utf-8', text, headers);
}

export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers?: OutgoingHttpHeaders,
): void {
  send(response, status, JSON_TYPE, `${JSON.stringify(value, null, 2)}\n`, headers);
}
