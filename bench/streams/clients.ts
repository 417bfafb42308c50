import type * as Http from 'node:http';
import { HttpSocket, PostgresSocket, RedisSocket } from './servers.js';

export type StreamClient = 'http' | 'pg' | 'ioredis' | 'undici' | 'fetch';

export const STREAM_CLIENTS: readonly StreamClient[] = ['http', 'pg', 'ioredis', 'undici', 'fetch'];

/** A client on streams within the process. */
export interface Client {
  /** How many call at once. */
  readonly callers: number;
  /** About a twentieth of a second of them. */
  readonly callsPerBlock: number;
  call(): Promise<unknown>;
}

/** Each is required when it is made: after whatever is to be around it. */
export const MAKE_CLIENT: Readonly<Record<StreamClient, () => Client | Promise<Client>>> = {
  http: () => {
    const http = require('node:http') as typeof Http;
    const agent = new http.Agent({ keepAlive: true, maxSockets: 50 });
    Object.assign(agent, { createConnection: () => new HttpSocket() });
    const call = () =>
      new Promise<void>((resolve, reject) => {
        http
          .get('http://api.example.com/', { agent }, (response) => response.resume().on('end', resolve))
          .on('error', reject);
      });
    return { callers: 50, callsPerBlock: 2_000, call };
  },
  undici: () => {
    const { Agent, request } = require('undici') as typeof import('undici');
    const dispatcher = new Agent({ connections: 50, connect: connectHttp });
    const call = async () => (await request('http://api.example.com/', { dispatcher })).body.text();
    return { callers: 50, callsPerBlock: 2_500, call };
  },
  fetch: async () => {
    // The one within Node, whose classes only its own dispatcher leads to.
    await fetch('data:,').then((response) => response.text());
    const global = (globalThis as Record<symbol, unknown>)[Symbol.for('undici.globalDispatcher.1')] as object;
    const Agent = global.constructor as new (options: object) => unknown;
    const dispatcher = new Agent({ connections: 50, connect: connectHttp });
    const call = async () => (await fetch('http://api.example.com/', { dispatcher } as object)).text();
    return { callers: 50, callsPerBlock: 500, call };
  },
  ioredis: () => {
    const { Redis } = require('ioredis') as typeof import('ioredis');
    class Connector {
      connect = () => Promise.resolve(new RedisSocket());
      disconnect = () => {};
      check = () => true;
    }
    const redis = new Redis({ Connector: Connector as never, enableReadyCheck: false, disableClientInfo: true });
    return { callers: 100, callsPerBlock: 10_000, call: () => redis.get('key') };
  },
  pg: () => {
    const { Pool } = require('pg') as typeof import('pg');
    const pool = new Pool({
      host: 'db.example.com',
      user: 'bench',
      database: 'bench',
      max: 10,
      stream: () => new PostgresSocket(),
    });
    return { callers: 10, callsPerBlock: 2_500, call: () => pool.query('SELECT $1::int AS one', [1]) };
  },
};

/** By as many callers as the client has, each of which waits for one call before it makes the next. */
export async function makeCalls({ callers, call }: Client, calls: number): Promise<void> {
  let left = calls;
  const caller = async () => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

function connectHttp(_: unknown, callback: (error: null, socket: never) => void): void {
  process.nextTick(callback, null, new HttpSocket());
}
