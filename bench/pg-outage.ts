/**
 * A PostgreSQL is killed, or frozen, under 200 concurrent callers and comes back five seconds later: what do callers see of
 * it, with circuit breakers and without? Run with `npx tsx bench/pg-outage.ts`; needs PostgreSQL.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import pg = require('pg');
import { PgBreakerInstrumentation } from '../instrumentations/pg/pg-instrumentation.js';
import { isCircuitOpenError } from '../src/breaker/errors.js';
import { TestGuard } from '../test/support/guarded.js';
import { PostgresServer } from '../test/support/postgres-server.js';

const CALLERS = 200;
const UP = 1_000;
const DOWN = 5_000;
const AFTERWARDS = 4_000;
// The pause of a caller after an error.
const PAUSE = 50;

type Fate = 'killed' | 'frozen';

void main();

async function main(): Promise<void> {
  const columns: Record<string, Record<string, string>> = {};
  for (const fate of ['killed', 'frozen'] as const) {
    for (const guarded of [false, true]) {
      columns[`${fate}, ${guarded ? 'with' : 'without'}`] = await measure(fate, guarded);
    }
  }
  console.table(columns);
}

async function measure(fate: Fate, guarded: boolean): Promise<Record<string, string>> {
  const server = await PostgresServer.start();
  const guard = new TestGuard({ preset: 'database', initialOpenDuration: 200 });
  const instrumentation = guarded ? new PgBreakerInstrumentation({}, guard) : undefined;
  const pool = new pg.Pool({
    connectionString: server.url,
    ...(fate === 'frozen' && { query_timeout: 1_000, connectionTimeoutMillis: 1_000 }),
  });
  pool.on('error', () => {});
  let attempts = 0;
  class CountedClient extends pg.Client {
    constructor(config: pg.ClientConfig) {
      super(config);
      attempts++;
    }
  }
  // The class that the pool makes its connections with.
  Object.assign(pool, { Client: CountedClient });

  let outage: 'before' | 'during' | 'after' = 'before';
  let stop = false;
  let back = Infinity;
  let first: number | undefined;
  let lastFailure = 0;
  let attemptsDuring = 0;
  let rejected = 0;
  const lost: number[] = [];

  async function call(): Promise<void> {
    while (!stop) {
      const began = outage;
      const start = performance.now();
      try {
        await pool.query('SELECT pg_sleep(0.002)');
        if (began === 'after') first ??= performance.now() - back;
      } catch (error) {
        const now = performance.now();
        if (began === 'during') lost.push(now - start);
        if (isCircuitOpenError(error)) rejected++;
        if (outage === 'after') lastFailure = now - back;
        await sleep(PAUSE);
      }
    }
  }

  const all = Promise.all(Array.from({ length: CALLERS }, call));
  await sleep(UP);
  outage = 'during';
  const attemptsBefore = attempts;
  if (fate === 'killed') await server.kill();
  else server.freeze();
  await sleep(DOWN);
  attemptsDuring = attempts - attemptsBefore;
  if (fate === 'killed') await server.start();
  else server.thaw();
  back = performance.now();
  outage = 'after';
  await sleep(AFTERWARDS);
  stop = true;
  await all;
  await pool.end();
  instrumentation?.disable();
  await server.stop();

  lost.sort((a, b) => a - b);
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(2)} s`;
  return {
    'lost time': seconds(lost.reduce((sum, wait) => sum + wait, 0)),
    'such a call, median': `${(lost[lost.length >> 1] ?? 0).toFixed(2)} ms`,
    'attempts to connect': String(attemptsDuring),
    rejected: String(rejected),
    'first success after the server is back': first === undefined ? 'none' : seconds(first),
    'last failure after the server is back': seconds(lastFailure),
  };
}
