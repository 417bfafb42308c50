import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { spread } from '../spread.js';
import type { StreamClient } from './clients.js';
import { interval, mean, type Interval } from './interval.js';
import type { Question } from './worker.js';

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
// More of them tell no more: by then, one process differs from the next by more than its blocks do.
const BLOCKS = 40;
const SAMPLES_OF_BYTES = 25;
// As large as it becomes in a process that has run for a while.
const YOUNG_GENERATION = '--min-semi-space-size=16';
// A collection soon after the first calls finds nearly all in use that they have made, spans that wait to be exported. V8 then
// puts such objects among old ones from then on: a query of pg beside OpenTelemetry takes 20 µs and more in the place of 16.
// When it comes depends on what was allocated before the first call: here it would strike one arm and spare the next.
const NO_PRETENURING = '--no-allocation-site-pretenuring';

// Within the repository, so that they find its packages.
const COMPILED = join(__dirname, '../../.bench/streams');
const FILES = ['worker', 'clients', 'servers', 'floor', 'tracing'] as const;

/** What a call costs in one process. */
type Cost = Readonly<Record<Question, number>>;

/**
 * What a call through a client costs in each arm, and what it costs beyond the first: in each set, one process for each arm,
 * and these take turns block by block; across sets, the mean of the differences in the middle with its interval of 95 %.
 */
export async function measureStreams(client: StreamClient, arms: readonly Arm[], sets: number): Promise<StreamCosts> {
  const worker = compileWorkers();
  const found: Cost[][] = [];
  for (let set = 0; set < sets; set++) {
    // Who starts first is another one in each set.
    const costs = await measureSet(worker, client, rotated(arms, set));
    found.push(rotated(costs, -set));
  }
  const beyondFirst = (arm: number, what: Question) =>
    interval(found.map((costs) => costs[arm]![what] - costs[0]![what]));
  return {
    client,
    microseconds: interval(found.map(([first]) => first!.time)),
    bytes: interval(found.map(([first]) => first!.bytes)),
    added: arms.slice(1).map(({ name }, index) => ({
      arm: name,
      microseconds: beyondFirst(index + 1, 'time'),
      bytes: beyondFirst(index + 1, 'bytes'),
    })),
  };
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const { length } = items;
  return items.map((_, index) => items[(((index + by) % length) + length) % length]!);
}

async function measureSet(file: string, client: StreamClient, arms: readonly Arm[]): Promise<Cost[]> {
  const workers: ChildProcess[] = [];
  // One after the other: a start beside others takes their time.
  for (const arm of arms) {
    const worker = start(file, client, arm);
    await next(worker);
    workers.push(worker);
  }
  // Warmed up in turns as well, so that none is colder than the others, or idle for seconds before it is measured.
  await inTurns(workers, 'time', WARM_UP_BLOCKS);
  const times = await inTurns(workers, 'time', BLOCKS);
  const bytes = await inTurns(workers, 'bytes', SAMPLES_OF_BYTES);
  for (const worker of workers) worker.kill('SIGKILL');
  return workers.map((_, index) => ({ time: fastestQuarter(times[index]!), bytes: spread(bytes[index]!).median }));
}

/** The mean of the fastest quarter: other work on the machine only adds time, and for several blocks in a row. */
function fastestQuarter(times: readonly number[]): number {
  return mean([...times].sort((a, b) => a - b).slice(0, Math.ceil(times.length / 4)));
}

/** @returns what each worker has answered */
async function inTurns(workers: readonly ChildProcess[], question: Question, times: number): Promise<number[][]> {
  const answers = workers.map((): number[] => []);
  for (let block = 0; block < times; block++) {
    const turn = workers.map((_, index) => index);
    // Forwards and then backwards, so that a machine that gets faster or slower favours none.
    for (const index of block % 2 === 0 ? turn : turn.reverse()) {
      workers[index]!.send(question);
      answers[index]!.push(await next<number>(workers[index]!));
    }
  }
  return answers;
}

/**
 * The workers are plain JavaScript: under `tsx`, whatever an arm loads while calls are made already changes what V8 makes of
 * Node's own code, and each call of http allocates 157 bytes more. Our port for metrics is loaded so.
 *
 * @returns the file of the worker, beside which its parts stand
 */
export function compileWorkers(): string {
  mkdirSync(COMPILED, { recursive: true });
  for (const file of FILES) {
    const { outputText } = ts.transpileModule(readFileSync(join(__dirname, `${file}.ts`), 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
    });
    writeFileSync(join(COMPILED, `${file}.js`), outputText);
  }
  return join(COMPILED, 'worker.js');
}

function start(file: string, client: StreamClient, { around, traced = false }: Arm): ChildProcess {
  return fork(file, [client, around, traced ? 'traced' : ''], {
    execArgv: [YOUNG_GENERATION, NO_PRETENURING],
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
