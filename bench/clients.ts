import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { PostgresServer } from '../test/support/postgres-server.js';
import { RedisServer } from '../test/support/redis-server.js';
import type { ClientName, Surroundings } from './client-worker.js';
import { spread, type Spread } from './spread.js';

const CLIENTS: readonly ClientName[] = ['http', 'fetch', 'undici', 'ioredis', 'pg'];
const SURROUNDINGS: readonly Surroundings[] = ['nothing', 'otel-breaker', 'OpenTelemetry', 'both'];
// Thousands of calls in each block, since V8 optimises for seconds and a service runs for days.
const WARM_UP_BLOCKS = 4;
const BLOCKS = 8;

export interface ClientCosts {
  readonly client: ClientName;
  /** Microseconds of CPU per call. */
  readonly microseconds: Readonly<Record<Surroundings, Spread>>;
  /** What otel-breaker adds, as a share: medians over neighbouring blocks. */
  readonly added: { readonly alone: Spread; readonly besideOpenTelemetry: Spread };
}

/**
 * What a call through each client costs with nothing around it, with OpenTelemetry's instrumentation, with ours and with
 * both: four processes that take turns block by block, and `sets` times four of them, since one process differs from the
 * next by about as much as a breaker costs.
 */
export async function measureClients(sets: number, tell: (progress: string) => void): Promise<ClientCosts[]> {
  const http = forkWorker(join(__dirname, 'http-server.ts'), []);
  const redis = await RedisServer.start();
  const postgres = await PostgresServer.start();
  const addresses: Record<ClientName, string> = {
    http: `http://127.0.0.1:${await next<number>(http)}/`,
    get fetch() {
      return this.http;
    },
    get undici() {
      return this.http;
    },
    ioredis: redis.url,
    pg: `postgres://${postgres.user}@${postgres.host}:${postgres.port}/${postgres.database}`,
  };
  try {
    const costs: ClientCosts[] = [];
    for (const client of CLIENTS) {
      costs.push(await measureClient(client, addresses[client], sets));
      tell(client);
    }
    return costs;
  } finally {
    http.kill();
    await Promise.all([redis.stop(), postgres.stop()]);
  }
}

async function measureClient(client: ClientName, address: string, sets: number): Promise<ClientCosts> {
  const measured: Record<Surroundings, number[]> = { nothing: [], 'otel-breaker': [], OpenTelemetry: [], both: [] };
  for (let set = 0; set < sets; set++) {
    const workers = SURROUNDINGS.map((surroundings) => {
      const worker = forkWorker(join(__dirname, 'client-worker.ts'), [client, address, surroundings]);
      return { surroundings, worker };
    });
    for (const { worker } of workers) await next(worker);
    for (let block = 0; block < WARM_UP_BLOCKS + BLOCKS; block++) {
      // Forwards and then backwards, so that a machine that gets faster or slower favours none.
      for (const { surroundings, worker } of block % 2 === 0 ? workers : [...workers].reverse()) {
        worker.send('block');
        const microseconds = await next<number>(worker);
        if (block >= WARM_UP_BLOCKS) measured[surroundings].push(microseconds);
      }
    }
    for (const { worker } of workers) worker.kill('SIGKILL');
  }
  const { nothing, OpenTelemetry, both } = measured;
  return {
    client,
    microseconds: {
      nothing: spread(nothing),
      'otel-breaker': spread(measured['otel-breaker']),
      OpenTelemetry: spread(OpenTelemetry),
      both: spread(both),
    },
    added: {
      alone: spread(measured['otel-breaker'].map((cost, block) => cost / nothing[block]! - 1)),
      besideOpenTelemetry: spread(both.map((cost, block) => cost / OpenTelemetry[block]! - 1)),
    },
  };
}

function forkWorker(file: string, args: readonly string[]): ChildProcess {
  return fork(file, args, { execArgv: ['--require', 'tsx/cjs'] });
}

async function next<T>(worker: ChildProcess): Promise<T> {
  const [message] = (await once(worker, 'message')) as [T];
  return message;
}
