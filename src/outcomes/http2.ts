import { findInChain } from '../breaker/error-chain.js';
import { isObject, read, readText } from '../breaker/values.js';
import type { Verdict } from '../breaker/verdict.js';
import { meaningOfCode, VERDICT_OF_MEANING } from './network-codes.js';
import { endOf } from './timeouts.js';

// The server has not begun with the request, or asks for fewer of them. Sessions say it by number: 7 and 11 of RFC 9113.
const NEUTRAL_RESETS = /(\b(7|11)|NGHTTP2_(REFUSED_STREAM|ENHANCE_YOUR_CALM))$/;
const RESETS: ReadonlySet<unknown> = new Set(['ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_SESSION_ERROR']);

/** `ignored` of an error of HTTP/2 by which the server says that it has not taken the request on; else `undefined`. */
export function knownVerdictOfHttp2Error(error: object): Verdict | undefined {
  const code = read(error, 'code');
  // It was to be sent on a session that its server is closing.
  if (code === 'ERR_HTTP2_GOAWAY_SESSION') return 'ignored';
  return RESETS.has(code) && NEUTRAL_RESETS.test(readText(error, 'message')) ? 'ignored' : undefined;
}

/**
 * What the error of a stream of HTTP/2 says of its server; `undefined` where it is the caller who ended the stream: by a
 * signal, an error of its own, or with the whole session.
 */
export function verdictOfHttp2Error(error: unknown): Verdict | undefined {
  if (!isObject(error)) return undefined;
  const end = endOf(error);
  if (end !== 'failure') return end === 'timeout' ? 'timeout' : undefined;
  const known = findInChain(error, knownVerdictOfHttp2Error);
  if (known !== undefined) return known;
  const meaning = findInChain(error, meaningOfCode);
  return meaning && VERDICT_OF_MEANING[meaning];
}
