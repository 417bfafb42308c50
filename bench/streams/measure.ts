import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { StreamClient } from './clients.js';
import { interval, type Interval } from './interval.js';
import type { Cost } from './worker.js';

/** Something around the client, with a name that tells it from the others. */
export interface Arm {
  readonly name: string;
  /** The folder of a build of otel-breaker, `floor`, or `nothing`. */
  readonly around: string;
  readonly traced?: boolean;
}

/** What an arm adds to the first one. */
export interface Added {
  readonly arm: string;
  readonly microseconds: Interval;
  readonly bytes: Interval;
}

export interface StreamCosts {
  readonly client: StreamClient;
  /** Of a call in the first arm. */
  readonly microseconds: Interval;
  readonly bytes: Interval;
  readonly added: readonly Added[];
}

// By the number of calls, not by time: V8 compiles what has run often enough, which on a busy machine takes many times as
// long. pg takes 30 blocks; measured after a second of warm-up instead, it seemed to be made 10 µs dearer by us, and 3 by nothing.
const WARM_UP_BLOCKS = 40;
const BLOCKS = 30;
const BLOCKS_OF_BYTES = 3;
// Bytes hardly differ from one process to the next.
const BYTE_SETS = 3;
// So that no block of calls fills it.
const WITHOUT_GC = ['--expose-gc', '--max-semi-space-size=128', '--min-semi-space-size=128'];

/**
 * What a call through a client costs in each arm, and what it costs beyond the first: in each set, one process for each arm,
 * and these take turns block by block; across sets, the mean of the differences with its interval of 95 %.
 */
export async function measureStreams(client: StreamClient, arms: readonly Arm[], sets: number): Promise<StreamCosts> {
  const times: number[][] = [];
  const bytes: number[][] = [];
  for (let set = 0; set < sets; set++)
    times.push(await medians(client, rotated(arms, set), BLOCKS, [], 'microseconds'));
  for (let set = 0; set < Math.min(sets, BYTE_SETS); set++) {
    bytes.push(await medians(client, rotated(arms, set), BLOCKS_OF_BYTES, WITHOUT_GC, 'bytes'));
  }
  const of = (name: string, set: number, found: readonly number[][]) =>
    found[set]![rotated(arms, set).findIndex((arm) => arm.name === name)]!;
  const first = arms[0]!.name;
  const beyondFirst = (name: string, found: readonly number[][]) =>
    interval(found.map((_, set) => of(name, set, found) - of(first, set, found)));
  return {
    client,
    microseconds: interval(times.map((_, set) => of(first, set, times))),
    bytes: interval(bytes.map((_, set) => of(first, set, bytes))),
    added: arms.slice(1).map(({ name }) => ({
      arm: name,
      microseconds: beyondFirst(name, times),
      bytes: beyondFirst(name, bytes),
    })),
  };
}

/** Who starts first is another one in each set. */
function rotated(arms: readonly Arm[], by: number): Arm[] {
  return arms.map((_, index) => arms[(index + by) % arms.length]!);
}

async function medians(
  client: StreamClient,
  arms: readonly Arm[],
  blocks: number,
  flags: readonly string[],
  what: keyof Cost,
): Promise<number[]> {
  const workers: ChildProcess[] = [];
  // One after the other: a start beside others takes their time.
  for (const arm of arms) {
    const worker = start(client, arm, flags);
    await next(worker);
    workers.push(worker);
  }
  const costs = workers.map((): number[] => []);
  // Warmed up in turns as well, so that none is colder than the others, or idle for seconds before it is measured.
  for (let block = -WARM_UP_BLOCKS; block < blocks; block++) {
    const turn = workers.map((_, index) => index);
    // Forwards and then backwards, so that a machine that gets faster or slower favours none.
    for (const index of block % 2 === 0 ? turn : turn.reverse()) {
      workers[index]!.send('block');
      const cost = await next<Cost>(workers[index]!);
      if (block >= 0) costs[index]!.push(cost[what]);
    }
  }
  for (const worker of workers) worker.kill('SIGKILL');
  return costs.map((one) => one.sort((a, b) => a - b)[Math.floor(one.length / 2)]!);
}

function start(client: StreamClient, { around, traced = false }: Arm, flags: readonly string[]): ChildProcess {
  return fork(join(__dirname, 'worker.ts'), [client, around, traced ? 'traced' : ''], {
    execArgv: [...flags, '--require', 'tsx/cjs'],
    env: {
      ...process.env,
      OTEL_EXPORTER_PROMETHEUS_PORT: '0',
      OTEL_BREAKER_CONSOLE: 'off',
      OTEL_LOG_LEVEL: 'error',
      OTEL_BREAKER_CONFIG: '',
    },
  });
}

async function next<T>(worker: ChildProcess): Promise<T> {
  const [message] = (await once(worker, 'message')) as [T];
  return message;
}
