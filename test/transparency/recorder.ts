import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CERTIFICATE } from '../support/servers.js';

/** What one connection has brought, in the order of connections. */
type Wire = string[];

/** How the connections of a protocol end. */
export interface Manners {
  /**
   * Whether a reset on the far side is one on the near side; where the server resets only because its client still speaks
   * while it hangs up, it comes or comes not.
   */
  readonly passesResets: boolean;
  /**
   * Whether a client that says no more has gone. A server of HTTP/2 does not always close its side when it hears of that: it
   * learns it with what it sends next, which a door that stays half open would hide.
   */
  readonly leavesWhole: boolean;
}

/**
 * Doors to a server that write down every byte which comes through them: one of plain TCP, one of TLS, one on a unix
 * socket. They are the same for both runs, so that not even a port differs.
 */
export class Recorder {
  readonly #servers: Server[] = [];
  readonly #open = new Set<Socket>();
  #directory = '';
  #wire: Buffer[][] = [];
  #quiet: (() => void)[] = [];

  private constructor(
    private readonly upstream: number,
    private readonly manners: Manners,
  ) {}

  /** @param upstream the port of the server behind the doors */
  static async start(upstream: number, manners: Manners): Promise<Recorder> {
    const recorder = new Recorder(upstream, manners);
    recorder.#directory = await mkdtemp(join(tmpdir(), 'otel-breaker-wire-'));
    const relay = (socket: Socket) => recorder.#relay(socket);
    recorder.#servers.push(
      createServer({ allowHalfOpen: true }, relay).listen(0, '127.0.0.1'),
      createTlsServer({ ...CERTIFICATE, allowHalfOpen: true }, relay).listen(0, '127.0.0.1'),
      createServer({ allowHalfOpen: true }, relay).listen(recorder.socketPath),
    );
    await Promise.all(recorder.#servers.map((server) => new Promise((resolve) => server.once('listening', resolve))));
    return recorder;
  }

  get port(): number {
    return (this.#servers[0]!.address() as AddressInfo).port;
  }

  get tlsPort(): number {
    return (this.#servers[1]!.address() as AddressInfo).port;
  }

  get socketPath(): string {
    return join(this.#directory, 'socket');
  }

  /** What came since the last time, once every connection is closed: a number of sockets, and the bytes of each. */
  async take(): Promise<Wire> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#quiet.push(resolve));
    const wire = this.#wire.splice(0);
    return wire.map((chunks) => steady(Buffer.concat(chunks).toString('latin1')));
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    for (const server of this.#servers) server.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #relay(near: Socket): void {
    const chunks: Buffer[] = [];
    this.#wire.push(chunks);
    this.#open.add(near);
    const far = connect({ host: '127.0.0.1', port: this.upstream, allowHalfOpen: true });
    near.on('data', (chunk) => chunks.push(chunk));
    near.pipe(far).pipe(near);
    near.on('error', () => far.resetAndDestroy());
    if (this.manners.leavesWhole) near.on('end', () => far.end(() => far.destroy()));
    far.on('error', () => (this.manners.passesResets && !far.readableEnded ? near.resetAndDestroy() : near.end()));
    // What still comes goes nowhere, and its end must be seen.
    far.on('close', () => near.resume().end());
    near.on('close', () => {
      far.destroy();
      this.#open.delete(near);
      if (this.#open.size === 0) for (const resolve of this.#quiet.splice(0)) resolve();
    });
  }
}

const { conversationOf } = require(join(__dirname, '../support/mongo-wire.cjs')) as {
  conversationOf(bytes: Buffer): string;
};

/** The first question that a client of MongoDB asks. */
const OF_MONGODB = 'admin.$cmd';
const OF_MYSQL = 'Node-MySQL-2';
const HTTP2 = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const STARTTLS = 'STARTTLS\r\n';
const FRAMES = ['DATA', 'HEADERS', '', 'RST_STREAM', '', '', '', 'GOAWAY'];

/** The frames of a client of HTTP/2 that say something; of headers, which are compressed, how long they are. */
function framesOf(bytes: Buffer): string[] {
  const frames: string[] = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    const [type, flags, stream] = [bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5)];
    const payload = bytes.subarray(at + 9, end);
    const name = FRAMES[type];
    // Settings, windows and pings come when they come.
    if (name)
      frames.push(`${name} ${stream} ${flags} ${name === 'HEADERS' ? payload.length : payload.toString('latin1')}`);
    at = end;
  }
  return frames;
}

/** The number that a server of MySQL gives a prepared statement, where it is executed and where it is closed. */
const STATEMENT_NUMBERS: readonly RegExp[] = [/(\x17)[^]{4}(?=\x00\x01\x00\x00\x00)/g, /(\x05\x00\x00\x00\x19)[^]{4}/g];

/** What a client makes up anew each time. */
function steady(bytes: string): string {
  if (bytes.startsWith('\x16\x03')) return 'a TLS handshake';
  if (bytes.startsWith(HTTP2)) return framesOf(Buffer.from(bytes.slice(HTTP2.length), 'latin1')).join('\n');
  const [before, ...encrypted] = bytes.split(STARTTLS);
  if (encrypted.length > 0) return `${before}${STARTTLS}…`;
  if (bytes.slice(0, 100).includes(OF_MONGODB)) return conversationOf(Buffer.from(bytes, 'latin1'));
  if (bytes.includes(OF_MYSQL)) return STATEMENT_NUMBERS.reduce((text, one) => text.replace(one, '$1…'), bytes);
  // Frames of a WebSocket are masked by chance.
  const text = bytes.replace(/(sec-websocket-key: )[^]*/i, '$1…').replace(/(-{4,}formdata-undici-)\d+/g, '$1…');
  return text.length > 4_000 ? `${text.slice(0, 4_000)}… (${text.length})` : text;
}
