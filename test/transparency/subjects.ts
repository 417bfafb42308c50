import { CERTIFICATE, findDeadPort, start } from '../support/servers.js';
import { echo } from '../support/grpc.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import type { Subject } from './compare.js';
import { farEnd } from './far-end.js';
import { Recorder } from './recorder.js';

/** A probe that differs, and why that cannot be helped. */
export const KNOWN_DIFFERENCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  fetch: {
    'the first of a process':
      'one microtask more: the copy of undici within Node is met when it makes its dispatcher, and the watch for that ends by itself',
  },
  undici: {
    'an interceptor between a pool and its clients':
      'one symbol more on the options of a request: it carries the call from the pool to the client, through whatever copies them',
  },
};

export type Case = Pick<Subject, 'family' | 'packages' | 'kind'> & { readonly title: string };

/** Every client in every form. */
export const CASES: readonly Case[] = (
  [
    ['http', ['node:http', 'node:https'], 'http and https'],
    ['fetch', [], 'fetch'],
    ['undici', ['undici6'], 'undici 6'],
    ['undici', ['undici'], 'undici 7'],
    ['ioredis', ['ioredis5'], 'ioredis 5'],
    ['ioredis', ['ioredis'], 'ioredis 6'],
    ['node-redis', ['redis5'], 'node-redis 5'],
    ['node-redis', ['redis'], 'node-redis 6'],
    ['mysql2', ['mysql2', 'mysql2/promise'], 'mysql2'],
    ['pg', ['pg', 'pg-cursor', 'pg-query-stream'], 'pg'],
    ['grpc', ['@grpc/grpc-js'], 'grpc-js'],
  ] as const
).flatMap(([family, packages, title]) => (['cjs', 'mjs'] as const).map((kind) => ({ family, packages, title, kind })));

/** What the probes call: one far end for each family, with a recorder before it. */
export class World {
  readonly #parts = new Map<string, Promise<Part>>();

  /** A case with the addresses that it needs; what runs at the same time must be of another family. */
  async subject({ family, packages, kind }: Case): Promise<Subject> {
    let part = this.#parts.get(family);
    if (part === undefined) this.#parts.set(family, (part = build(family)));
    const { recorder, addresses } = await part;
    return { family, packages, kind, recorder, addresses, known: Object.keys(KNOWN_DIFFERENCES[family] ?? {}) };
  }

  async stop(): Promise<void> {
    for (const part of this.#parts.values()) await (await part).stop();
    this.#parts.clear();
  }
}

interface Part {
  readonly recorder: Recorder;
  readonly addresses: Readonly<Record<string, unknown>>;
  stop(): Promise<void>;
}

async function build(family: string): Promise<Part> {
  const server = await serverOf(family);
  const recorder = await Recorder.start(server.port, server.passesResets);
  const deadPort = await findDeadPort();
  const url = (port: number) => `http://127.0.0.1:${port}`;
  return {
    recorder,
    addresses: {
      deadPort,
      origin: url(recorder.port),
      deadOrigin: url(deadPort),
      ca: String(CERTIFICATE.cert),
      ...server.addresses,
    },
    stop: async () => {
      await recorder.stop();
      await server.stop();
    },
  };
}

async function serverOf(family: string) {
  if (family === 'ioredis' || family === 'node-redis') {
    const redis = await RedisServer.start();
    return { port: redis.port, passesResets: false, addresses: {}, stop: () => redis.remove() };
  }
  if (family === 'mysql2') {
    const mariadb = await MariadbServer.start();
    const { port, user, database } = mariadb;
    return { port, passesResets: false, addresses: { user, database }, stop: () => mariadb.stop() };
  }
  if (family === 'pg') {
    const postgres = await PostgresServer.start();
    const { port, user, database } = postgres;
    return { port, passesResets: false, addresses: { user, database }, stop: () => postgres.stop() };
  }
  if (family === 'grpc') {
    const { port, stop } = await echo.serve();
    return { port, passesResets: false, addresses: {}, stop: async () => stop() };
  }
  const { port, stop } = await start(farEnd(), 'http');
  return { port, passesResets: true, addresses: {}, stop };
}
