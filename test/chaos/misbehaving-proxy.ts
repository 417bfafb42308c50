import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../support/random.js';

/** What a proxy does to what passes through it. */
export const BEHAVIOURS = [
  'pass',
  'late',
  'refuse',
  'reset',
  'never answer',
  'stop half-way',
  'garbage',
  'byte by byte',
  'close when used again',
  'error answers',
] as const;
export type Behaviour = (typeof BEHAVIOURS)[number];

/** An answer by which a server says that it cannot work, to one chunk of requests; and whether it hangs up afterwards. */
export type ErrorAnswer = (request: Buffer) => { readonly answer: Buffer; readonly hangUp: boolean };

const LOSING: ReadonlySet<Behaviour> = new Set(['never answer', 'stop half-way', 'garbage', 'error answers']);
const HOST = '127.0.0.1';
const BYTE_EVERY_MS = 4;
const LATE_MS = 100;
const MAX_GARBAGE = 200;
// An answer that begins with it and goes on with no length: the parser of ioredis 5 throws, and nobody there catches that.
const ARRAY_OF_REDIS = '*'.charCodeAt(0);

/** Stands before a real server, on a port of its own, and does to each connection whatever it is told just then. */
export class MisbehavingProxy {
  readonly #sockets = new Set<Socket>();
  /** On which requests or answers were lost: no server goes on with those. */
  readonly #spoilt = new Set<Socket>();
  #server: Server | undefined;
  #port = 0;
  #behaviour: Behaviour = 'pass';

  private constructor(
    private readonly upstreamPort: number,
    private readonly random: Random,
    private readonly errorAnswer: ErrorAnswer,
  ) {}

  static async start(upstreamPort: number, random: Random, errorAnswer: ErrorAnswer): Promise<MisbehavingProxy> {
    const proxy = new MisbehavingProxy(upstreamPort, random, errorAnswer);
    await proxy.#listen();
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  async behave(behaviour: Behaviour): Promise<void> {
    this.#behaviour = behaviour;
    if (behaviour === 'refuse') await this.#unlisten();
    else if (this.#server === undefined) await this.#listen();
    for (const socket of this.#spoilt) socket.destroy();
    // As a server that was restarted has lost the connections it had.
    if (behaviour === 'reset') for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Ends the connections there are; new ones can be made. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    await this.#unlisten();
  }

  async #listen(): Promise<void> {
    const server = createServer((socket) => this.#serve(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, HOST, resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
  }

  async #unlisten(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    const closed = server && new Promise((resolve) => server.close(resolve));
    this.hangUp();
    await closed;
  }

  #serve(client: Socket): void {
    this.#sockets.add(client);
    let used = 0;
    let stopped = false;
    let sending = Promise.resolve();
    const upstream = connect(this.upstreamPort, HOST);
    // What was sent too late is dropped; a client gone takes its half of the server's side with it.
    client.on('error', () => {});
    upstream.on('error', () => client.destroy());
    client.on('close', () => {
      this.#sockets.delete(client);
      this.#spoilt.delete(client);
      upstream.destroy();
    });
    upstream.on('close', () => void sending.then(() => client.end()));

    client.on('data', (request) => {
      if (LOSING.has(this.#behaviour)) this.#spoilt.add(client);
      switch (this.#behaviour) {
        case 'reset':
          return client.resetAndDestroy();
        case 'never answer':
          return;
        case 'garbage':
          return client.write(this.#garbage());
        case 'close when used again':
          if (used++ > 0) return client.destroy();
          return upstream.write(request);
        case 'error answers': {
          const { answer, hangUp } = this.errorAnswer(request);
          if (hangUp) client.end(answer);
          else client.write(answer);
          return;
        }
        default:
          return upstream.write(request);
      }
    });

    upstream.on('data', (answer) => {
      // What has begun to fail goes on to fail: half an answer with its end sent later would be a good one.
      if (stopped) return;
      if (LOSING.has(this.#behaviour)) this.#spoilt.add(client);
      switch (this.#behaviour) {
        case 'never answer':
        case 'reset':
          return;
        case 'stop half-way':
          stopped = true;
          client.write(answer.subarray(0, Math.ceil(answer.length / 2)));
          return;
        case 'late':
          sending = sending.then(() => delay(LATE_MS)).then(() => void client.write(answer));
          return;
        case 'byte by byte':
          sending = sending.then(() => drip(client, answer));
          return;
        default:
          sending = sending.then(() => void client.write(answer));
      }
    });
  }

  #garbage(): Buffer {
    const bytes = Array.from({ length: 1 + this.random.below(MAX_GARBAGE) }, () => this.random.below(256));
    return Buffer.from(bytes.filter((byte) => byte !== ARRAY_OF_REDIS));
  }
}

async function drip(socket: Socket, bytes: Buffer): Promise<void> {
  for (const byte of bytes) {
    if (socket.destroyed) return;
    socket.write(Buffer.of(byte));
    await delay(BYTE_EVERY_MS);
  }
}
