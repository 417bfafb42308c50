import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { markOwnClient } from '../telemetry/own-clients.js';
import { suppressed } from '../telemetry/registered.js';
import type { Engine, EngineListener } from './engine.js';
import type { Message, Reply, Request } from './protocol.js';
import { keyOfBreaker, keysOf, SCRIPT, SCRIPT_SHA } from './script.js';
import { setTimeout, clearTimeout, setImmediate } from '../breaker/real-time.js';

/** What is used of a `Redis` or a `Cluster` of ioredis. */
export interface RedisClient {
  readonly isCluster?: boolean;
  readonly status: string;
  readonly stream?: { unref?(): unknown };
  on(event: string, listener: (...args: never[]) => void): unknown;
  connect(): Promise<unknown>;
  disconnect(): void;
  duplicate(): RedisClient;
  subscribe(channel: string): Promise<unknown>;
  evalsha(...args: (string | number)[]): Promise<unknown>;
  eval(...args: (string | number)[]): Promise<unknown>;
}

type RedisConstructor = new (url: string, options: object) => RedisClient;

export interface IoredisEngineOptions {
  readonly namespace: string;
  /** Makes the client of commands; the one that listens is made of it. */
  readonly connect: () => RedisClient;
  /** Whether connections that are lost are made anew here; a client of the application's making does that itself. */
  readonly reconnects: boolean;
  /** Why something was in vain. */
  readonly onError: (error: Error) => void;
}

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 5_000;
// A server that accepts connections and says nothing is one that cannot be reached.
const READY_WITHIN_MS = 5_000;

/** The fleet's verdicts in a Redis or Valkey server, through the ioredis of the application, on connections of our own. */
export class IoredisEngine implements Engine {
  readonly #options: IoredisEngineOptions;
  readonly #keys: ReturnType<typeof keysOf>;
  #listener: EngineListener | undefined;
  #client: RedisClient | undefined;
  #subscriber: RedisClient | undefined;
  #isSubscribed = false;
  #retries = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #readyTimer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(options: IoredisEngineOptions) {
    this.#options = options;
    this.#keys = keysOf(options.namespace);
  }

  get isConnected(): boolean {
    return this.#isSubscribed && this.#client?.status === 'ready';
  }

  start(listener: EngineListener): void {
    this.#listener = listener;
    this.#quietly(() => {
      const client = this.#options.connect();
      this.#client = this.#adopt(client);
      this.#subscriber = client.isCluster === true ? client : this.#adopt(client.duplicate());
      this.#subscriber.on('message', (_channel: string, text: string) => this.#hear(text));
      this.#open();
      // One that was made by the application may be ready already.
      this.#onReady();
    });
  }

  send(request: Request, done: (reply: Reply | undefined) => void): void {
    const { namespace } = this.#options;
    const { live, hosts, book, channel } = this.#keys;
    const names = request.acts.map(({ name }) => keyOfBreaker(namespace, name));
    const rest = [3 + names.length, live, hosts, book, ...names, JSON.stringify(request), channel];
    this.#quietly(
      () => {
        const client = this.#client!;
        client
          .evalsha(SCRIPT_SHA, ...rest)
          .catch((error: Error) => {
            if (!error.message.startsWith('NOSCRIPT')) throw error;
            return client.eval(SCRIPT, ...rest);
          })
          .then(
            (text) =>
              this.#safely(
                () => done(read(text)),
                () => done(undefined),
              ),
            (error: Error) => {
              this.#options.onError(error);
              this.#safely(() => done(undefined));
            },
          );
      },
      () => done(undefined),
    );
  }

  restart(): void {
    if (this.#stopped) return;
    this.#isSubscribed = false;
    this.#quietly(() => {
      for (const client of this.#clients()) client.disconnect();
      // Of the application's making: it does not connect again by itself after this.
      if (!this.#options.reconnects) this.#retry();
    });
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#readyTimer);
    this.#quietly(() => {
      for (const client of this.#clients()) client.disconnect();
    });
  }

  #clients(): Set<RedisClient> {
    return new Set([this.#client, this.#subscriber].filter((client) => client !== undefined));
  }

  #adopt(client: RedisClient): RedisClient {
    markOwnClient(client);
    client.on('error', (error: Error) => this.#options.onError(error));
    client.on('connect', () => unref(client));
    client.on('ready', () => this.#onReady());
    client.on('close', () => this.#onLost());
    client.on('end', () => this.#onEnd());
    // The timer of a client that connects again by itself.
    client.on('reconnecting', () => (client as { reconnectTimeout?: { unref?(): void } }).reconnectTimeout?.unref?.());
    client.on('+node', (node: RedisClient) => {
      markOwnClient(node);
      node.on('connect', () => unref(node));
      unref(node);
    });
    unref(client);
    return client;
  }

  #open(): void {
    this.#readyTimer ??= setTimeout(() => {
      this.#readyTimer = undefined;
      if (this.isConnected || this.#stopped) return;
      this.#options.onError(new Error(`no answer within ${READY_WITHIN_MS / 1_000} s`));
      this.restart();
    }, READY_WITHIN_MS).unref();
    for (const client of this.#clients()) {
      if (client.status !== 'wait' && client.status !== 'end') continue;
      client.connect().catch(() => {
        // It has told by its event why.
      });
      // ioredis makes the socket when this turn is over.
      setImmediate(() => unref(client)).unref();
    }
  }

  #onReady(): void {
    if (this.#stopped || [...this.#clients()].some(({ status }) => status !== 'ready')) return;
    this.#quietly(() => {
      this.#subscriber!.subscribe(this.#keys.channel).then(
        () => {
          if (this.#stopped) return;
          this.#isSubscribed = true;
          this.#retries = 0;
          clearTimeout(this.#readyTimer);
          this.#readyTimer = undefined;
          if (this.isConnected) this.#safely(() => this.#listener!.onConnected());
        },
        (error: Error) => this.#options.onError(error),
      );
    });
  }

  #onLost(): void {
    this.#isSubscribed = false;
  }

  #onEnd(): void {
    this.#isSubscribed = false;
    if (this.#options.reconnects) this.#retry();
  }

  #retry(): void {
    if (this.#stopped || this.#retryTimer !== undefined) return;
    const longest = Math.min(FIRST_RETRY_MS * 2 ** this.#retries++, LONGEST_RETRY_MS);
    this.#retryTimer = setTimeout(
      () => {
        this.#retryTimer = undefined;
        if (!this.#stopped) this.#quietly(() => this.#open());
      },
      longest * (0.5 + Math.random() / 2),
    ).unref();
  }

  #hear(text: string): void {
    this.#safely(() => this.#listener?.onMessage(JSON.parse(text) as Message));
  }

  /** Nothing that is done here shows in the application's traces, or becomes its error. */
  #quietly(act: () => void, otherwise?: () => void): void {
    this.#safely(() => suppressed(act), otherwise);
  }

  #safely(act: () => void, otherwise?: () => void): void {
    try {
      act();
    } catch (error) {
      this.#options.onError(error instanceof Error ? error : new Error(String(error)));
      otherwise?.();
    }
  }
}

function read(text: unknown): Reply {
  const reply = JSON.parse(String(text)) as Reply;
  // An empty list is written as an empty object there.
  return Array.isArray(reply.results) ? reply : { ...reply, results: [] };
}

function unref({ stream }: RedisClient): void {
  stream?.unref?.();
}

/** Makes clients for a URL by an ioredis that was found. */
export function connectByUrl(ioredis: object, url: string): () => RedisClient {
  const { Redis, default: byDefault } = ioredis as { Redis?: RedisConstructor; default?: RedisConstructor };
  const Client = Redis ?? byDefault ?? (ioredis as RedisConstructor);
  // A test of the application may have put something else in its place, which is none of our business.
  if (typeof (Client.prototype as { sendCommand?: unknown } | undefined)?.sendCommand !== 'function') {
    throw new Error('what is loaded as ioredis is something else, such as a mock');
  }
  return () =>
    new Client(url.replace(/^valkey/, 'redis'), {
      lazyConnect: true,
      connectionName: 'otel-breaker-fleet',
      connectTimeout: 2_000,
      enableOfflineQueue: false,
      enableReadyCheck: true,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      // Connected anew by a timer of ours, which keeps no process alive.
      retryStrategy: () => null,
      // Needs rights that nothing else here needs.
      disableClientInfo: true,
    });
}

/** The ioredis of the application: from its main file, from where it runs, or from where we are. */
export function findIoredis(main = process.argv[1]): { load(): object } | undefined {
  const places = [main === undefined ? undefined : dirname(main), process.cwd(), __dirname];
  for (const place of places) {
    if (place === undefined || !existsSync(place)) continue;
    const { resolve } = createRequire(join(place, 'application.js'));
    try {
      const file = resolve('ioredis');
      return { load: () => createRequire(file)(file) as object };
    } catch {
      // Not from there.
    }
  }
  return undefined;
}
