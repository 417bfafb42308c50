import { STATUS_CODES } from 'node:http';
import type { CircuitOpenError } from '../src/guard/guard.js';
import { retryAfterSeconds } from '../src/outcomes/http.js';

/** What a rejected call gets where `whenOpen` is `respond`: an answer that no server has sent. */
export interface OpenAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const UNAVAILABLE = 503;

/**
 * Says in the language of HTTP that the circuit is open. `x-otel-breaker` tells it from an answer of the target.
 *
 * `x-should-retry: false` is what the SDKs of LLM services obey (openai, @anthropic-ai/sdk). The body has the message
 * where the one and the other of them look for it.
 */
export function openAnswer({ message, code, state, retryAfterMs }: CircuitOpenError): OpenAnswer {
  const body = Buffer.from(JSON.stringify({ message, error: { type: 'circuit_open', code, message } }));
  return {
    status: UNAVAILABLE,
    statusText: STATUS_CODES[UNAVAILABLE]!,
    headers: {
      'content-type': 'application/json',
      'content-length': String(body.byteLength),
      'retry-after': String(retryAfterSeconds(retryAfterMs)),
      'x-should-retry': 'false',
      'x-otel-breaker': state,
    },
    body,
  };
}
