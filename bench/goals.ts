import type { Results } from './run.js';
import type { StreamClient } from './streams/clients.js';
import { formatInterval, type Interval } from './streams/interval.js';
import type { StreamCosts } from './streams/measure.js';
import type { Scenario } from './worker.js';

/** What was aimed for, what was reached, the least that it could be, and whether that is enough. */
export function goalsTable(results: Results): string {
  const rows = goals(results).map((goal) => {
    const { what, reached, limit, unit = '×', floor } = goal;
    const least = floor === undefined ? '–' : `${format(floor)}${unit}`;
    const aim = `≤ ${typeof limit === 'number' ? limit : format(limit)}${unit}`;
    return `| ${what} | ${aim} | ${format(reached)}${unit} | ${least} | ${judge(goal)} |`;
  });
  return ['| | goal | reached | floor | |', '|---|--:|--:|--:|---|', ...rows].join('\n');
}

/** A number; with an interval where it is a mean over sets. */
type Figure = number | Interval;

export interface Goal {
  readonly what: string;
  readonly reached: Figure;
  /** With an interval where it was measured itself. */
  readonly limit: Figure;
  /** What must be told apart from a limit that was measured: a figure that is less above it than can be told is not. */
  readonly toTell?: number;
  /** Default a ratio. */
  readonly unit?: string;
  /** The least that whatever does the same work takes, measured in the same run. */
  readonly floor?: Figure;
}

// What counts as being at a floor: no more than a tenth above it.
const AT_FLOOR = 1.1;

export function judge({ reached, limit, toTell, floor }: Goal): 'met' | 'at its floor' | 'no difference' | 'not met' {
  if (mean(reached) <= mean(limit)) return 'met';
  const noise = Math.hypot(half(reached), half(limit));
  if (toTell !== undefined && noise < toTell && mean(reached) - mean(limit) <= noise) return 'no difference';
  if (floor === undefined || mean(reached) > AT_FLOOR * mean(floor)) return 'not met';
  // Who can tell no less than the goal apart cannot tell either where the floor is: noise is no excuse.
  return half(reached) < mean(limit) && half(floor) < mean(limit) ? 'at its floor' : 'not met';
}

function mean(figure: Figure): number {
  return typeof figure === 'number' ? figure : figure.mean;
}

function half(figure: Figure): number {
  return typeof figure === 'number' ? 0 : figure.half;
}

function format(figure: Figure): string {
  if (typeof figure !== 'number') return formatInterval(figure, Math.abs(figure.mean) < 20 ? 2 : 0);
  return figure.toFixed(figure < 20 ? 2 : 0);
}

function goals({ calls, memory, scale, clients, startup }: Results): Goal[] {
  const of = (contender: string) => calls.find((row) => row.contender === contender)!;
  // The fastest round of each: other work on the machine only adds time.
  const time = (contender: string, scenario: Scenario) => of(contender).nanoseconds[scenario]!.min;
  const bare = 'bare await fn()';
  const lean = 'otel-breaker';
  const full = 'otel-breaker, all metrics';
  const sdk = 'otel-breaker, all metrics through an SDK';
  const oneLook = 'floor: `then` and one look at the clock';
  const twoLooks = 'floor: `then` and two looks at the clock';
  const leastLean = 'floor: … and all that a breaker must count, one look';
  const leastFull = 'floor: … and a histogram, two looks';
  /** One of ours, and the least breaker for the same work, each in the ratio to something else. */
  const compared = (
    what: string,
    ours: string,
    least: string,
    other: string,
    scenario: Scenario,
    limit: number,
  ): Goal => ({
    what,
    reached: time(ours, scenario) / time(other, scenario),
    floor: time(least, scenario) / time(other, scenario),
    limit,
  });
  const cpu = (what: string) => startup.find((row) => row.what === what)!.cpu.median;
  const added = ({ added }: StreamCosts, arm: string) => added.find((one) => one.arm === arm)!;
  return [
    ...clients.map(({ client, alone }): Goal => ({
      what: `added to a call of ${client}`,
      reached: added(alone, 'otel-breaker').microseconds,
      limit: MICROSECONDS[client],
      unit: ' µs',
      floor: added(alone, 'floor').microseconds,
    })),
    ...clients.flatMap(({ client, alone }): Goal[] => {
      const limit = BYTES[client];
      if (limit === undefined) return [];
      const reached = added(alone, 'otel-breaker').bytes;
      const floor = added(alone, 'floor').bytes;
      return [{ what: `allocated for a call of ${client}`, reached, limit, unit: ' bytes', floor }];
    }),
    ...clients.map(({ client, alone, traced }): Goal => ({
      what: `added to a call of ${client} beside OpenTelemetry`,
      reached: added(traced, 'otel-breaker').microseconds,
      limit: tenthMore(added(alone, 'otel-breaker').microseconds),
      toTell: MICROSECONDS[client],
      unit: ' µs',
      floor: added(traced, 'floor').microseconds,
    })),
    compared('`call()` ÷ the floor with one look at the clock', lean, leastLean, oneLook, 'success', 1.1),
    compared('`call()` with all metrics ÷ the floor with two looks', full, leastFull, twoLooks, 'success', 1.1),
    compared('success, all metrics ÷ cockatiel sampling', full, leastFull, 'cockatiel sampling', 'success', 0.85),
    compared('success, all metrics ÷ opossum', full, leastFull, 'opossum', 'success', 0.15),
    compared('rejected in bursts of 32 ÷ cockatiel sampling', lean, leastLean, 'cockatiel sampling', 'rejected', 0.25),
    compared('failing call ÷ bare failing call', lean, leastLean, bare, 'failure', 1.2),
    {
      what: 'through an SDK: beyond our own exporter ÷ one `histogram.record`',
      reached: (time(sdk, 'success') - time(full, 'success')) / scale.histogramRecord,
      limit: 1,
    },
    {
      what: 'bytes per idle breaker, all metrics',
      reached: memory[full]!.bytes,
      limit: 512,
      unit: '',
    },
    { what: 'timers per idle breaker', reached: memory[full]!.timers, limit: 0, unit: '' },
    {
      what: "preload on an empty script, beyond OpenTelemetry's API",
      reached: cpu('empty script, preload') - cpu('empty script, the API of OpenTelemetry'),
      limit: 30,
      unit: ' ms',
      // Loaded by an application that makes calls; by an empty script, for us.
      floor:
        cpu('empty script, the API and what of Node we patch or ask') - cpu('empty script, the API of OpenTelemetry'),
    },
    { what: 'a scrape of 1,000 breakers: CPU', reached: scale.page, limit: 40, unit: ' ms' },
    { what: '… the longest turn of the event loop', reached: scale.longestTurn, limit: 10, unit: ' ms' },
    { what: 'the longest turn of the event loop while starting', reached: scale.startingTurn, limit: 20, unit: ' ms' },
    { what: 'look-up with 1,000 rules', reached: scale.guardEnter, limit: 300, unit: ' ns', floor: scale.lookUpFloor },
  ];
}

function tenthMore({ mean, half }: Interval): Interval {
  return { mean: 1.1 * Math.max(mean, 0), half: 1.1 * half };
}

const MICROSECONDS: Readonly<Record<StreamClient, number>> = {
  http: 0.8,
  pg: 0.8,
  ioredis: 0.3,
  undici: 1.5,
  fetch: 2,
};
const BYTES: Readonly<Partial<Record<StreamClient, number>>> = { http: 200, undici: 250, pg: 250, ioredis: 200 };
