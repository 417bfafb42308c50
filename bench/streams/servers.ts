/** The far ends of the clients, as Duplex streams within the process: no kernel, no server, and answers of always one form. */
import { Duplex } from 'node:stream';

const { setImmediate } = globalThis;

// Answers come with the next turn of the event loop, all of them together, as a poll brings them.
let waiting: InProcessSocket[] = [];

function answerAll(): void {
  const sockets = waiting;
  waiting = [];
  for (const socket of sockets) socket.flush();
}

/** Stands for a socket. What clients ask of one beyond a stream does nothing. */
abstract class InProcessSocket extends Duplex {
  readonly connecting = false;
  // As many fields as a `net.Socket` has. Of an object with few, V8 makes a dictionary once undici and we have put theirs on
  // it, and each call took 1.7 µs more for that, which none through a real socket does.
  _hadError = false;
  _parent: unknown = null;
  _host: unknown = null;
  _closeAfterHandlingError = false;
  _pendingData: unknown = null;
  _pendingEncoding = '';
  _server: unknown = null;
  server: unknown = null;
  _sockname: unknown = null;
  _peername: unknown = null;
  _handle: unknown = null;
  timeout = 0;
  #answers: Buffer[] = [];

  constructor() {
    super({ decodeStrings: false });
  }

  /** @returns the answer to what the client wrote; `undefined` where it goes on writing */
  protected abstract answerTo(chunk: string | Buffer): Buffer | undefined;

  override _read(): void {}

  override _write(chunk: string | Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    const answer = this.answerTo(chunk);
    if (answer !== undefined) {
      if (this.#answers.push(answer) === 1 && waiting.push(this) === 1) setImmediate(answerAll);
    }
    done();
  }

  flush(): void {
    const answers = this.#answers;
    this.#answers = [];
    this.push(answers.length === 1 ? answers[0] : Buffer.concat(answers));
  }

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

const HTTP_ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\nconnection: keep-alive\r\n\r\n${'x'.repeat(100)}`,
);

export class HttpSocket extends InProcessSocket {
  protected override answerTo(): Buffer {
    return HTTP_ANSWER;
  }
}

const REDIS_ANSWER = Buffer.from('$5\r\nvalue\r\n');

/** Takes one command in each chunk, as ioredis writes them. */
export class RedisSocket extends InProcessSocket {
  protected override answerTo(): Buffer {
    return REDIS_ANSWER;
  }
}

function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const READY = message('Z', Buffer.from('I'));
const AUTHENTICATED = Buffer.concat([message('R', Buffer.alloc(4)), READY]);
const FIELD = Buffer.from('one\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0', 'latin1');
const ROW = Buffer.concat([
  message('1'),
  message('2'),
  message('T', Buffer.from([0, 1]), FIELD),
  message('D', Buffer.from([0, 1, 0, 0, 0, 1]), Buffer.from('1')),
  message('C', Buffer.from('SELECT 1\0')),
  READY,
]);
const SYNC = Buffer.from([0x53, 0, 0, 0, 4]);

/** Answers each `Sync` with one row. */
export class PostgresSocket extends InProcessSocket {
  #started = false;

  connect(): void {
    process.nextTick(() => this.emit('connect'));
  }

  protected override answerTo(chunk: string | Buffer): Buffer | undefined {
    if (!this.#started) {
      this.#started = true;
      return AUTHENTICATED;
    }
    return Buffer.isBuffer(chunk) && chunk.subarray(-5).equals(SYNC) ? ROW : undefined;
  }
}
