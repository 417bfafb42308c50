import { STATUS_CODES } from 'node:http';
import type { BreakerConfig } from '../src/breaker/config.js';
import { bodyOf, statusOf } from '../src/breaker/respond-with.js';
import type { CircuitOpenError } from '../src/guard/guard.js';
import { retryAfterSeconds } from '../src/outcomes/http.js';

/** What a rejected call gets where `whenOpen` is `respond`: an answer that no server has sent. */
export interface OpenAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Nothing where there is none to send, whatever its length: to HEAD, and with a status that has none. */
  readonly body: Buffer | undefined;
}

const UNAVAILABLE = 503;
const FIRST_OF_ERRORS = 400;
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * Says in the language of HTTP that the circuit is open, or what `respondWith` has for that. `x-otel-breaker` tells it from
 * an answer of the target.
 *
 * @param method of the request
 */
export function openAnswer(rejection: CircuitOpenError, { respondWith }: BreakerConfig, method: unknown): OpenAnswer {
  const status = respondWith === undefined ? UNAVAILABLE : statusOf(respondWith);
  const { bytes, type } = respondWith === undefined ? bodyOf({ body: ownBody(rejection) }) : bodyOf(respondWith);
  const hasBody = !WITHOUT_BODY.has(status);
  const headers: Record<string, string> = {};
  if (hasBody && type !== undefined) headers['content-type'] = type;
  for (const [name, value] of Object.entries(respondWith?.headers ?? {})) headers[name.toLowerCase()] = String(value);
  if (hasBody) headers['content-length'] = String(bytes.byteLength);
  if (status >= FIRST_OF_ERRORS) {
    headers['retry-after'] ??= String(retryAfterSeconds(rejection.retryAfterMs));
    // What the SDKs of LLM services obey (openai, @anthropic-ai/sdk).
    headers['x-should-retry'] ??= 'false';
  }
  headers['x-otel-breaker'] = rejection.state;
  const statusText = STATUS_CODES[status] ?? 'Unknown';
  return { status, statusText, headers, body: hasBody && method !== 'HEAD' ? bytes : undefined };
}

/** The message where the one and the other SDK of LLM services look for it. */
function ownBody({ message, code }: CircuitOpenError): object {
  return { message, error: { type: 'circuit_open', code, message } };
}
