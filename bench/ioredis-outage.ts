/**
 * A Redis is killed under 200 concurrent callers and comes back five seconds later: what do callers see of it, with
 * circuit breakers and without? Run with `npx tsx bench/ioredis-outage.ts`; needs `redis-server`.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { IoredisBreakerInstrumentation } from '../instrumentations/ioredis/ioredis-instrumentation.js';
import type { BreakerOptions } from '../src/breaker/options.js';
import { CircuitOpenError } from '../src/guard/guard.js';
import { TestGuard } from '../test/support/guarded.js';
import { Clients } from '../test/support/ioredis.js';
import { RedisServer } from '../test/support/redis-server.js';

const CALLERS = 200;
const UP = 1_000;
const DOWN = 5_000;
const AFTERWARDS = 3_000;
// The pause of a caller between two calls.
const PAUSE = 10;

interface Run {
  readonly name: string;
  readonly breaker?: BreakerOptions;
}

const RUNS: readonly Run[] = [
  { name: 'without' },
  { name: 'preset cache', breaker: { preset: 'cache' } },
  // One failed attempt to connect is one failure, and ioredis 6 takes 7 s for eight of them.
  { name: 'impatient', breaker: { preset: 'cache', whenOpen: 'throw', failureThreshold: 2 } },
];

void main();

async function main(): Promise<void> {
  const rows: Record<string, unknown> = {};
  for (const run of RUNS) rows[run.name] = await measure(run);
  console.table(rows);
}

async function measure({ breaker }: Run): Promise<Record<string, string | number>> {
  const server = await RedisServer.start();
  const guard = new TestGuard(breaker);
  const instrumentation = breaker && new IoredisBreakerInstrumentation({}, guard);
  const clients = new Clients('ioredis');
  const redis = clients.redis(server.port);
  await redis.ping();

  const waits: number[] = [];
  const refusals: number[] = [];
  let outage: 'before' | 'during' | 'after' = 'before';
  let stop = false;
  let answeredDuring = 0;
  let failed = 0;
  let firstAnswer: number | undefined;
  let back = Infinity;

  async function call(): Promise<void> {
    while (!stop) {
      const start = performance.now();
      const began = outage;
      try {
        await redis.incr('counter');
        if (outage === 'after') firstAnswer ??= performance.now() - back;
        if (outage === 'during') answeredDuring++;
      } catch (error) {
        if (error instanceof CircuitOpenError) refusals.push(performance.now() - start);
        else failed++;
      }
      if (began !== 'after' && outage !== 'before') waits.push(performance.now() - start);
      await sleep(PAUSE);
    }
  }

  const all = Promise.all(Array.from({ length: CALLERS }, call));
  await sleep(UP);
  outage = 'during';
  await server.kill();
  await sleep(DOWN);
  await server.start();
  back = performance.now();
  outage = 'after';
  await sleep(AFTERWARDS);
  stop = true;
  await all;
  clients.release();
  instrumentation?.disable();
  await server.remove();

  waits.sort((a, b) => a - b);
  refusals.sort((a, b) => a - b);
  const total = waits.reduce((sum, wait) => sum + wait, 0);
  return {
    'calls in the outage': waits.length,
    'hung > 1 s': waits.filter((wait) => wait > 1_000).length,
    'longest, s': (waits.at(-1)! / 1_000).toFixed(2),
    'median, ms': waits[Math.floor(waits.length / 2)]!.toFixed(2),
    'callers waited, s': (total / 1_000).toFixed(1),
    failed,
    refused: refusals.length,
    'refusal, µs': refusals.length === 0 ? '' : (refusals[Math.floor(refusals.length / 2)]! * 1_000).toFixed(0),
    'answered meanwhile': answeredDuring,
    'first answer, s': firstAnswer === undefined ? 'none' : (firstAnswer / 1_000).toFixed(2),
  };
}
