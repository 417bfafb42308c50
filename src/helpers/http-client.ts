import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { CircuitOpenError } from '../breaker/errors.js';
import type { Permit } from '../breaker/permit.js';
import { rejectLater } from '../breaker/run.js';
import { isObject, isThenable, readText } from '../breaker/values.js';
import { settleByStatus } from '../outcomes/http.js';
import { Reading, settleAtEnd, succeedIfDropped } from '../outcomes/stream-outcome.js';
import { namedBreaker, type NamedBreakerOptions } from '../named-breaker.js';

/** Which breaker the client has, and what all of its requests share. */
export interface CircuitBreakerHttpClientOptions extends NamedBreakerOptions {
  /** What relative addresses are relative to. */
  baseUrl?: string | URL;
  /** Sent with every request, unless the request sets them. */
  headers?: RequestInit['headers'];
  /** Milliseconds until a request with its answer is given up, with a `TimeoutError`; not set: never. */
  timeout?: number;
  /** What makes the requests; default the global `fetch`. */
  fetch?: typeof fetch;
}

type Init = Omit<RequestInit, 'method' | 'body'>;
type Body = RequestInit['body'];

/**
 * `fetch` behind a breaker; options as in `BreakerOptions`, from the preset `httpApi`.
 *
 * Answers are those of `fetch`, whatever their status. By `failureStatuses` (5xx) they count as failures; a good answer
 * counts when its body has come, or its caller stops reading; 408 and 429 give no verdict, and neither do wrong arguments
 * and a request that its caller aborts before the answer.
 */
export class CircuitBreakerHttpClient {
  readonly breaker: CircuitBreaker;
  readonly #baseUrl: string | URL | undefined;
  readonly #headers: RequestInit['headers'];
  readonly #timeout: number | undefined;
  readonly #fetch: typeof fetch | undefined;

  /** @throws ConfigError naming every option that is unknown or has a bad value */
  constructor({ baseUrl, headers, timeout, fetch, ...breaker }: CircuitBreakerHttpClientOptions) {
    this.breaker = namedBreaker({ preset: 'httpApi', ...breaker });
    this.#baseUrl = baseUrl;
    this.#headers = headers;
    this.#timeout = timeout;
    this.#fetch = fetch;
  }

  /**
   * As `fetch`, with addresses relative to `baseUrl`.
   *
   * @returns rejects with `CircuitOpenError`, or with the error of `fetch`, unchanged
   */
  async fetch(address: string | URL, init: RequestInit = {}): Promise<Response> {
    // Before a permit is asked for: wrong arguments say nothing of the target.
    const url = new URL(address, this.#baseUrl);
    const request = { ...init, headers: this.#mergeHeaders(init.headers), signal: this.#signal(init.signal) };
    const permit = this.breaker.tryAcquire();
    if (permit instanceof CircuitOpenError) return rejectLater(permit);
    let response: Response;
    try {
      // Looked up at each call: a `fetch` that instrumentation has replaced since is the one to use.
      response = await (this.#fetch ?? globalThis.fetch)(url, request);
    } catch (error) {
      if (this.#fetch === undefined && isMistake(error)) permit.ignore();
      else permit.settleByError(error, init.signal ?? undefined);
      throw error;
    }
    watchAnswer(permit, response);
    return response;
  }

  /** `fetch` with the method GET. */
  get(address: string | URL, init?: Init): Promise<Response> {
    return this.fetch(address, { ...init, method: 'GET' });
  }

  /** `fetch` with the method HEAD. */
  head(address: string | URL, init?: Init): Promise<Response> {
    return this.fetch(address, { ...init, method: 'HEAD' });
  }

  /** `fetch` with the method DELETE. */
  delete(address: string | URL, init?: Init): Promise<Response> {
    return this.fetch(address, { ...init, method: 'DELETE' });
  }

  /** @param body what `fetch` takes; any other object, array, number or boolean is sent as JSON */
  post(address: string | URL, body?: unknown, init?: Init): Promise<Response> {
    return this.#send('POST', address, body, init);
  }

  /** @param body as for `post` */
  put(address: string | URL, body?: unknown, init?: Init): Promise<Response> {
    return this.#send('PUT', address, body, init);
  }

  /** @param body as for `post` */
  patch(address: string | URL, body?: unknown, init?: Init): Promise<Response> {
    return this.#send('PATCH', address, body, init);
  }

  #send(method: string, address: string | URL, body: unknown, init: Init = {}): Promise<Response> {
    if (isBody(body)) return this.fetch(address, { ...init, method, body: body ?? null });
    const headers = new Headers(init.headers);
    if (!headers.has('content-type')) headers.set('content-type', 'application/json');
    return this.fetch(address, { ...init, method, headers, body: JSON.stringify(body) });
  }

  #mergeHeaders(own: RequestInit['headers']): Headers {
    const headers = new Headers(this.#headers);
    new Headers(own).forEach((value, name) => headers.set(name, value));
    return headers;
  }

  #signal(own: RequestInit['signal']): AbortSignal | null {
    if (this.#timeout === undefined) return own ?? null;
    const timeout = AbortSignal.timeout(this.#timeout);
    return own === null || own === undefined ? timeout : AbortSignal.any([own, timeout]);
  }
}

function isBody(body: unknown): body is Body {
  return (
    body === null ||
    body === undefined ||
    typeof body === 'string' ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body) ||
    body instanceof Blob ||
    body instanceof FormData ||
    body instanceof URLSearchParams ||
    body instanceof ReadableStream ||
    Symbol.asyncIterator in Object(body)
  );
}

/** Whether `fetch` did not like its arguments: of a trouble on the way it says the cause, which has a code. */
function isMistake(error: unknown): boolean {
  return error instanceof TypeError && !(isObject(error.cause) && readText(error.cause, 'code') !== '');
}

/** Settles by the status, or by what becomes of the body. Never throws: the answer is there, and its caller gets it. */
function watchAnswer(permit: Permit, response: Response): void {
  try {
    settleByStatus(permit, response.status, (name) => response.headers.get(name) ?? undefined, response.statusText);
    if (!permit.settled) watchBody(permit, response);
  } catch {
    // Of another `fetch`: without what a response has, or frozen. We say nothing of what we cannot look at.
    permit.ignore();
  }
}

/** A body that breaks off is a failure, although the status was good. The response stays the object it is. */
function watchBody(permit: Permit, response: Response): void {
  const { body } = response as { body?: Response['body'] };
  // Undefined for the answer of another `fetch`, such as a test's, that has no stream.
  if (body === null || body === undefined) return permit.success();
  const reading = new Reading(permit, true);
  settleAtEnd(permit, body, true);
  succeedIfDropped(response, permit);
  for (const name of ['arrayBuffer', 'blob', 'formData', 'json', 'text'] as const) {
    // `fetch` of others need not have them all: the `Response` of node-fetch 2 has no `formData`.
    if (typeof response[name] !== 'function') continue;
    const read = response[name].bind(response);
    Object.defineProperty(response, name, {
      configurable: true,
      writable: true,
      value: () => {
        const value: unknown = read();
        // At once, that of a test.
        if (!isThenable(value)) {
          permit.success();
          return value;
        }
        return value.then(
          (value) => {
            permit.success();
            return value;
          },
          (error: unknown) => {
            // It came in full and was not JSON: the caller's matter.
            if (error instanceof SyntaxError) permit.success();
            else reading.fail(error);
            throw error;
          },
        );
      },
    });
  }
}
