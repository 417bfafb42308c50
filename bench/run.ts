/**
 * `npm run bench`: everything side by side and interleaved, each contender in processes of its own; prints the tables and
 * writes them to docs/performance.md, and the figures to bench/results.json. Takes half an hour.
 *
 *     --only clients,calls,scale,startup   measures a part anew and keeps the figures of the others
 *     --sets 8                             of clients: processes for each column; a set of all takes some three minutes
 *     --clients http,pg                    of clients: these alone
 *     --untraced                           of clients: not beside OpenTelemetry, which is half of the time
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CONTENDERS } from './contenders.js';
import { goalsTable } from './goals.js';
import type { LookUps, Memory, Scale } from './scale-worker.js';
import { spread, type Spread } from './spread.js';
import { measureAllStreams, type ClientOnStreams } from './streams/all.js';
import { STREAM_CLIENTS, type StreamClient } from './streams/clients.js';
import { formatInterval } from './streams/interval.js';
import { measureStartup, type Startup } from './startup.js';
import type { Measurement, Scenario } from './worker.js';

const ROOT = join(__dirname, '..');
const SCENARIOS: readonly Scenario[] = ['success', 'success, 100 at once', 'failure', 'rejected'];
const PAGE = join(ROOT, 'docs/performance.md');

export interface Calls {
  readonly contender: string;
  /** By scenario; missing where it cannot be measured. */
  readonly nanoseconds: Readonly<Record<string, Spread>>;
  readonly bytes: Readonly<Record<string, Spread>>;
}

export interface Results {
  readonly machine: string;
  readonly rounds: number;
  readonly calls: readonly Calls[];
  /** Of a breaker without calls, by contender. */
  readonly memory: Readonly<Record<string, Memory>>;
  readonly scale: Scale;
  readonly clients: readonly ClientOnStreams[];
  readonly startup: readonly Startup[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      only: { type: 'string' },
      sets: { type: 'string', default: '8' },
      clients: { type: 'string' },
      untraced: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  const file = join(ROOT, 'bench/results.json');
  const known = JSON.parse(readFileSync(file, 'utf8')) as Results;
  const wanted = {
    clients: (values.clients?.split(',') ?? STREAM_CLIENTS) as readonly StreamClient[],
    traced: !values.untraced,
  };
  const isAsked = (part: string) => values.only === undefined || values.only.split(',').includes(part);
  const results: Results = {
    machine: `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}`,
    rounds,
    calls: isAsked('calls') ? measureCalls(rounds) : known.calls,
    memory: isAsked('scale') ? measureMemory() : known.memory,
    scale: isAsked('scale') ? measureScale() : known.scale,
    clients: isAsked('clients')
      ? await measureAllStreams(join(ROOT, 'dist'), Number(values.sets), wanted, known.clients, (client) =>
          tell(`client ${client}`),
        )
      : known.clients,
    startup: isAsked('startup') ? measureStartup(ROOT, 3 * rounds) : known.startup,
  };
  writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
  const tables = {
    bench: `${results.machine}; medians of ${rounds} rounds.\n\n${callsTable(results)}`,
    scale: scaleTable(results),
    clients: clientsTable(results),
    startup: startupTable(results),
    goals: goalsTable(results),
  };
  for (const [mark, table] of Object.entries(tables)) {
    console.log(`\n${table}`);
    writeBetween(mark, table);
  }
}

function measureCalls(rounds: number): Calls[] {
  const measured = new Map<string, Measurement[]>();
  for (let round = 1; round <= rounds; round++) {
    for (const scenario of SCENARIOS) {
      for (const { name, alwaysTrips } of CONTENDERS) {
        if (scenario === 'failure' && alwaysTrips === true) continue;
        const key = `${scenario}|${name}`;
        measured.set(key, [...(measured.get(key) ?? []), worker<Measurement>('worker.ts', scenario, name)]);
      }
      tell(`round ${round} of ${rounds}: ${scenario}`);
    }
  }
  return CONTENDERS.map(({ name: contender }) => {
    const nanoseconds: Record<string, Spread> = {};
    const bytes: Record<string, Spread> = {};
    for (const scenario of SCENARIOS) {
      const found = measured.get(`${scenario}|${contender}`);
      if (found === undefined) continue;
      nanoseconds[scenario] = spread(found.map((measurement) => measurement.nanoseconds));
      bytes[scenario] = spread(found.map((measurement) => measurement.bytes));
    }
    return { contender, nanoseconds, bytes };
  });
}

function measureMemory(): Record<string, Memory> {
  const found = CONTENDERS.filter(({ idle }) => idle !== undefined);
  return Object.fromEntries(found.map(({ name }) => [name, memoryOf(name)]));
}

/** In the median of several processes: in some, V8 makes much less of the same code. */
function measureScale(): Scale {
  const measured = Array.from({ length: 3 }, () => ({
    ...worker<Omit<Scale, 'usedBytes' | keyof LookUps>>('scale-worker.ts'),
    ...worker<LookUps>('scale-worker.ts', 'look-ups'),
    usedBytes: worker<number>('scale-worker.ts', 'in use'),
  }));
  const keys = Object.keys(measured[0]!) as (keyof Scale)[];
  return Object.fromEntries(keys.map((key) => [key, spread(measured.map((one) => one[key])).median])) as never;
}

/** In the median of several processes: now and then a megabyte of what was loaded before goes while we measure. */
function memoryOf(contender: string): Memory {
  const measured = Array.from({ length: 5 }, () => worker<Memory>('scale-worker.ts', contender));
  const median = (of: (memory: Memory) => number) => spread(measured.map(of)).median;
  return { bytes: median(({ bytes }) => bytes), timers: median(({ timers }) => timers) };
}

function worker<T>(file: string, ...args: readonly string[]): T {
  const node = ['--expose-gc', '--max-semi-space-size=128', '--require', 'tsx/cjs', join(__dirname, file)];
  return JSON.parse(execFileSync(process.execPath, [...node, ...args], { cwd: ROOT, encoding: 'utf8' })) as T;
}

function tell(progress: string): void {
  console.error(progress);
}

function callsTable({ calls }: Results): string {
  const bare = calls[0]!;
  const rows = calls.map(({ contender, nanoseconds, bytes }) => {
    const cells = SCENARIOS.map((scenario) => {
      const time = nanoseconds[scenario];
      if (time === undefined) return '–';
      const ratio = time.median / bare.nanoseconds[scenario]!.median;
      return `${integer(time.median)} (${integer(time.min)}–${integer(time.max)}) · ${ratio.toFixed(1)}×`;
    });
    const beyondBare = bytes.success!.median - bare.bytes.success!.median;
    return [contender, ...cells, contender === bare.contender ? '–' : integer(beyondBare)];
  });
  return table(['', ...SCENARIOS.map((scenario) => `${scenario}: ns`), 'bytes per success, beyond bare'], rows);
}

function scaleTable({ memory, scale }: Results): string {
  const rows = Object.entries(memory).map(([name, { bytes, timers }]) => [name, integer(bytes), String(timers)]);
  const costs = [
    ['bytes of a breaker with all metrics, called in two tenths of its window', `${integer(scale.usedBytes)} bytes`],
    ['find a breaker by name among 100,000', `${integer(scale.registryLookUp)} ns`],
    ['target → rule → breaker → permit → settled, 1,000 rules, 1,000 hosts in use', `${integer(scale.guardEnter)} ns`],
    ['… the least of it: a `Map.get` among 1,000, two looks at the clock', `${integer(scale.lookUpFloor)} ns`],
    ['match a new target against 1,000 rules, none of which is about it', `${integer(scale.ruleMiss)} ns`],
    ['read the numbers of 1,000 breakers (CPU)', `${scale.collect.toFixed(1)} ms`],
    ['answer a scrape of 1,000 breakers, 24,000 lines (CPU)', `${integer(scale.page)} ms`],
    ['… the longest turn of the event loop meanwhile', `${scale.longestTurn.toFixed(1)} ms`],
  ];
  return [table(['10,000 idle breakers', 'bytes each', 'timers each'], rows), table(['otel-breaker', ''], costs)].join(
    '\n\n',
  );
}

function clientsTable({ clients }: Results): string {
  const arms = ['nothing', '+ A/A', '+ floor', '+ otel-breaker', 'OpenTelemetry', '+ floor', '+ otel-breaker'];
  const of = (what: 'microseconds' | 'bytes', digits: number) =>
    clients.map(({ client, alone, traced }) => {
      const figures = [alone, ...alone.added, traced, ...traced.added];
      return [client, ...figures.map((figure) => formatInterval(figure[what], digits))];
    });
  return [
    table(['µs of CPU for a call', ...arms], of('microseconds', 2)),
    table(['bytes allocated for a call', ...arms], of('bytes', 0)),
  ].join('\n\n');
}

function startupTable({ startup }: Results): string {
  const rows = startup.map(({ what, cpu, megabytes, modules }) => [
    what,
    `${integer(cpu.median)} (${integer(cpu.min)}–${integer(cpu.max)})`,
    megabytes.median.toFixed(1),
    String(modules),
  ]);
  return table(['until the script runs', 'ms of CPU', 'MB resident', 'modules'], rows);
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(heads),
    `|---|${heads
      .slice(1)
      .map(() => '--:|')
      .join('')}`,
    ...rows.map(line),
  ].join('\n');
}

/** Replaces what stands between two marks of the page. */
function writeBetween(mark: string, text: string): void {
  const page = readFileSync(PAGE, 'utf8');
  const marks = new RegExp(`(<!-- ${mark} -->)[^]*(<!-- /${mark} -->)`);
  writeFileSync(
    PAGE,
    page.replace(marks, (_, begin: string, end: string) => `${begin}\n\n${text}\n\n${end}`),
  );
}

function integer(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

void main();
