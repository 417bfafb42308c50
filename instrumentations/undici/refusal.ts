import { IncomingMessage } from 'node:http';
import type { BreakerConfig } from '../../src/breaker/config.js';
import type { CircuitOpenError } from '../../src/guard/guard.js';
import { deferRejection } from '../../src/breaker/pacing.js';
import { openAnswer, type OpenAnswer } from '../open-answer.js';
import { isSwitch, type Controller, type DispatchOptions, type Handler } from './handler.js';

/**
 * Ends a request that is not made, the way undici ends one whose connection failed: later, through its handler, which
 * also destroys what the caller wanted to send.
 */
export function refuse(
  handler: Handler,
  options: DispatchOptions,
  error: CircuitOpenError,
  responds: BreakerConfig | undefined,
): void {
  let told = false;
  // A body that fails before would end the call with its own error.
  const release = holdBody(options.body, tell);
  deferRejection(tell);

  function tell(): void {
    if (told) return;
    told = true;
    try {
      // A refused upgrade has no form of an answer: its handlers take headers for an error.
      if (responds && !isSwitch(options)) {
        new Delivery(handler, openAnswer(error, responds, options.method), options.body).start();
      } else {
        report(handler, null, error);
      }
    } finally {
      release();
    }
  }
}

/** undici listens for errors of a body from the first moment; until the handler hears of the rejection, so must we. */
function holdBody(body: unknown, onError: () => void): () => void {
  const { prependListener, off } = (body ?? {}) as { prependListener?: unknown; off?: unknown };
  if (typeof prependListener !== 'function' || typeof off !== 'function') return noop;
  prependListener.call(body, 'error', onError);
  return () => void off.call(body, 'error', onError);
}

/** How many listen for errors of a body, as undici does of each that it is to send. */
function errorListenersOf(body: unknown): number {
  const { listenerCount } = (body ?? {}) as { listenerCount?: unknown };
  return typeof listenerCount === 'function' ? Number(listenerCount.call(body, 'error')) : 0;
}

/** What undici does to a stream that a caller wanted to send, where the answer comes before its end. */
function discard(body: unknown): void {
  const { on, pipe, destroy } = (body ?? {}) as { on?: unknown; pipe?: unknown; destroy?: unknown };
  if (typeof on !== 'function' || typeof pipe !== 'function' || typeof destroy !== 'function') return;
  // Destroyed with its socket, a request that is passed on could not be answered any more.
  if (body instanceof IncomingMessage) (body as { socket: unknown }).socket = null;
  on.call(body, 'error', noop);
  destroy.call(body);
}

function report(handler: Handler, controller: Controller | null, error: unknown): void {
  if (isNewGeneration(handler)) handler.onResponseError?.(controller, error);
  else handler.onError?.(error);
}

function isNewGeneration(handler: Handler): boolean {
  return typeof handler.onRequestStart === 'function';
}

/** Hands an answer to a handler of either generation, as fast as it takes it. */
class Delivery implements Controller {
  paused = false;
  aborted = false;
  reason: unknown = null;
  readonly rawHeaders: Buffer[];
  readonly rawTrailers: Buffer[] = [];
  #next: 'headers' | 'body' | 'end' | 'nothing' = 'headers';
  #running = false;

  constructor(
    private readonly handler: Handler,
    private readonly answer: OpenAnswer,
    private readonly sent: unknown,
  ) {
    this.rawHeaders = Object.entries(answer.headers)
      .flat()
      .map((text) => Buffer.from(text, 'latin1'));
  }

  start(): void {
    try {
      if (isNewGeneration(this.handler)) this.handler.onRequestStart!(this, undefined);
      else this.handler.onConnect?.((reason) => this.abort(reason));
    } catch (error) {
      this.#end(error);
    }
    this.#run();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#run();
  }

  abort(reason?: unknown): void {
    if (this.#next !== 'nothing') this.#end(reason);
  }

  /** Also where a handler has thrown: undici tells it of its own error. */
  #end(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#next = 'nothing';
    report(this.handler, this, reason ?? abortError());
  }

  #run(): void {
    // A handler may resume while it is being called.
    if (this.#running) return;
    this.#running = true;
    try {
      while (!this.paused && this.#next !== 'nothing') this.#step();
    } catch (error) {
      this.#end(error);
    } finally {
      this.#running = false;
    }
  }

  #step(): void {
    const step = this.#next;
    const { handler, answer } = this;
    const { status, statusText, headers, body } = answer;
    const isNew = isNewGeneration(handler);
    if (step === 'headers') {
      this.#next = body === undefined ? 'end' : 'body';
      if (isNew) handler.onResponseStart?.(this, status, headers, statusText);
      else if (handler.onHeaders?.(status, this.rawHeaders, () => this.resume(), statusText) === false) this.pause();
    } else if (step === 'body') {
      this.#next = 'end';
      if (isNew) handler.onResponseData?.(this, body!);
      else if (handler.onData?.(body!) === false) this.pause();
    } else {
      this.#next = 'nothing';
      const listeners = errorListenersOf(this.sent);
      if (isNew) handler.onResponseEnd?.(this, {});
      else handler.onComplete?.([]);
      // Not where it ends by an error: a retry may be about to send it once more, and all others destroy it themselves.
      // Nor where a retry has just done so.
      if (errorListenersOf(this.sent) <= listeners) discard(this.sent);
    }
  }
}

/** What undici makes of an abort without a reason. */
function abortError(): Error {
  const error = new Error('Request aborted');
  return Object.assign(error, { name: 'AbortError', code: 'UND_ERR_ABORTED' });
}

function noop(): void {}
