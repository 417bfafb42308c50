import { Duplex } from 'node:stream';
import type { OpenAnswer } from '../open-answer.js';

/**
 * The far end of a request that is not made: takes whatever is sent and gives one answer, which Node's own parser then
 * makes a response of.
 */
export class AnswerSocket extends Duplex {
  #bytes: Buffer | undefined;

  constructor({ status, statusText, headers, body }: OpenAnswer) {
    super();
    const lines = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`);
    const head = Buffer.from(`HTTP/1.1 ${status} ${statusText}\r\n${lines.join('')}\r\n`, 'latin1');
    this.#bytes = body === undefined ? head : Buffer.concat([head, body]);
  }

  override _read(): void {
    if (this.#bytes === undefined) return;
    this.push(this.#bytes);
    this.#bytes = undefined;
    this.push(null);
  }

  override _write(_chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    done();
  }

  // What clients ask of the socket of a request. There is no network to wait for, so there is nothing to do.
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}
