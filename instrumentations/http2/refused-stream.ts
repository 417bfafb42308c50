import { addAbortSignal, Duplex } from 'node:stream';
import { reportOnce } from '../../src/breaker/diagnostics.js';
import { deferRejection } from '../../src/breaker/pacing.js';
import type { OpenAnswer } from '../open-answer.js';
import type { Headers } from './http2-call.js';

// https://www.rfc-editor.org/rfc/rfc9113#section-7. Not from node:http2: the preload would take that for the application's
// first use of it, and ask for the attachment while its files are still being loaded.
const CANCEL = 0x8;

export const REJECTING_FAILED = 'Rejecting a request of HTTP/2 failed';

/**
 * What a request gets that is not made: a stream that belongs to its session and has not been sent. It fails as one fails
 * whose connection could not be had, or it is answered.
 */
export class RefusedStream extends Duplex {
  readonly aborted = false;
  endAfterHeaders = false;
  readonly id = undefined;
  readonly pending = true;
  readonly scheme: unknown;
  readonly sentHeaders: Headers;
  readonly state = {};
  rstCode = 0;

  constructor(
    readonly session: object | undefined,
    headers: Headers,
    outcome: Error | OpenAnswer,
    signal: AbortSignal | undefined,
  ) {
    // Answered, a stream is over, whatever its caller still sends.
    super({ allowHalfOpen: false, decodeStrings: false });
    this.sentHeaders = headers;
    if (signal) addAbortSignal(signal, this);
    deferRejection(() => {
      if (this.destroyed) return;
      if (outcome instanceof Error) this.destroy(outcome);
      else this.#answer(outcome);
    });
  }

  #answer({ status, headers, body }: OpenAnswer): void {
    this.endAfterHeaders = body === undefined;
    this.emit('response', { ':status': status, ...headers }, 0);
    if (body !== undefined) this.push(body);
    this.push(null);
    // Nobody reads where there is nothing to read.
    if (body === undefined) this.resume();
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done();
  }

  /** Its code is that of Node where the signal of the request is aborted. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    try {
      if (error?.name === 'AbortError') this.rstCode = CANCEL;
    } catch (fault) {
      reportOnce(REJECTING_FAILED, fault);
    }
    done(error);
  }

  /** As `http2stream.close()`. */
  close(code = 0, onClosed?: () => void): void {
    if (onClosed !== undefined) this.once('close', onClosed);
    this.rstCode = code;
    this.destroy();
  }

  // What clients ask of a stream. There is no network to wait for, so there is nothing to do.
  setTimeout(): this {
    return this;
  }
  priority(): void {}
  sendTrailers(): void {}
}
