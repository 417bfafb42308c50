import { join } from 'node:path';
import { CERTIFICATE, findDeadPort, start } from '../support/servers.js';
import { echo } from '../support/grpc.js';
import { MongoServer } from '../support/mongo-server.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { errorOf, MailServer } from '../support/smtp-server.js';
import type { Subject } from './compare.js';
import { farEnd } from './far-end.js';
import { Recorder, type Manners } from './recorder.js';

/** A probe that differs, and why that cannot be helped. */
export const KNOWN_DIFFERENCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  fetch: {
    'the first of a process':
      'one microtask more: the copy of undici within Node is met when it makes its dispatcher, and the watch for that ends by itself',
  },
  mongodb: {
    'how soon a caller hears':
      'one microtask later: what callers of an operation get is a promise that comes of the client’s own, by which we learn how it ended',
    'change streams': 'the same: a stream asks for more once its connection was given back, no longer just before',
  },
  undici: {
    'an interceptor between a pool and its clients':
      'one symbol more on the options of a request: it carries the call from the pool to the client, through whatever copies them',
  },
};

const serveHttp2ByPath = require(join(__dirname, '../fixtures/http2-server.cjs')) as () => Promise<{
  readonly port: number;
  stop(): void;
}>;

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
    ['mongodb', ['mongodb'], 'mongodb'],
    ['mongoose', ['mongoose'], 'mongoose'],
    ['pg', ['pg', 'pg-cursor', 'pg-query-stream'], 'pg'],
    ['grpc', ['@grpc/grpc-js'], 'grpc-js'],
    ['http2', ['node:http2'], 'http2'],
    ['nodemailer', ['nodemailer', 'nodemailer/lib/smtp-connection'], 'nodemailer'],
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

interface FarServer {
  readonly port: number;
  readonly addresses: Readonly<Record<string, unknown>>;
  readonly manners?: Partial<Manners>;
  /** For servers that tell clients where to go: the port before them. */
  isBehind?(port: number): Promise<void>;
  stop(): Promise<unknown> | void;
}

async function build(family: string): Promise<Part> {
  const server = await serverOf(family);
  const recorder = await Recorder.start(server.port, { passesResets: false, leavesWhole: false, ...server.manners });
  await server.isBehind?.(recorder.port);
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

async function serverOf(family: string): Promise<FarServer> {
  if (family === 'ioredis' || family === 'node-redis') {
    const redis = await RedisServer.start();
    return { port: redis.port, addresses: {}, stop: () => redis.remove() };
  }
  if (family === 'mongodb' || family === 'mongoose') {
    const mongodb = await MongoServer.start();
    return {
      port: mongodb.port,
      addresses: {},
      isBehind: (port) => mongodb.isBehind(port),
      stop: () => mongodb.kill(),
    };
  }
  if (family === 'mysql2') {
    const mariadb = await MariadbServer.start();
    const { port, user, database } = mariadb;
    return { port, addresses: { user, database }, stop: () => mariadb.stop() };
  }
  if (family === 'pg') {
    const postgres = await PostgresServer.start();
    const { port, user, database } = postgres;
    return { port, addresses: { user, database }, stop: () => postgres.stop() };
  }
  if (family === 'http2') {
    const { port, stop } = await serveHttp2ByPath();
    return { port, addresses: {}, manners: { leavesWhole: true }, stop: async () => stop() };
  }
  if (family === 'nodemailer') {
    const mail = await MailServer.start({
      ...CERTIFICATE,
      disabledCommands: [],
      onMailFrom: ({ address }, _, done) => {
        const [, code] = /^code-(\d+)@/.exec(address) ?? [];
        if (!address.startsWith('silent')) done(code === undefined ? undefined : errorOf(Number(code), 'Not now'));
      },
      onRcptTo: ({ address }, _, done) =>
        done(address.startsWith('refused') ? errorOf(550, 'No such mailbox') : undefined),
    });
    return { port: mail.port, addresses: {}, manners: { leavesWhole: true }, stop: () => mail.stop() };
  }
  if (family === 'grpc') {
    const { port, stop } = await echo.serve();
    return { port, addresses: {}, manners: { leavesWhole: true }, stop: async () => stop() };
  }
  const { port, stop } = await start(farEnd(), 'http');
  return { port, addresses: {}, manners: { passesResets: true }, stop };
}
