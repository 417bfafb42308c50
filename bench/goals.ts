import type { Results } from './run.js';
import type { StreamClient } from './streams/clients.js';

/** What was aimed for, what was reached, and whether it was met. */
export function goalsTable(results: Results): string {
  const rows = goals(results).map(([what, reached, limit, unit = '×']) => {
    const met = reached <= limit ? 'met' : 'not met';
    return `| ${what} | ≤ ${Number(limit.toFixed(2))}${unit} | ${reached.toFixed(reached < 20 ? 2 : 0)}${unit} | ${met} |`;
  });
  return ['| | goal | reached | |', '|---|--:|--:|---|', ...rows].join('\n');
}

type Goal = readonly [what: string, reached: number, limit: number, unit?: string];

function goals({ calls, memory, scale, clients, startup }: Results): Goal[] {
  const of = (contender: string) => calls.find((row) => row.contender === contender)!;
  const time = (contender: string, scenario: string) => of(contender).nanoseconds[scenario]!.median;
  const bare = 'bare await fn()';
  const lean = 'otel-breaker';
  const full = 'otel-breaker, all metrics';
  const sdk = 'otel-breaker, all metrics through an SDK';
  const floor = 'floor: `then` and two looks at the clock';
  const ratio = (contender: string, other: string, scenario: string) =>
    time(contender, scenario) / time(other, scenario);
  const cpu = (what: string) => startup.find((row) => row.what === what)!.cpu.median;
  return [
    ...clients.map(({ client, alone }): Goal => {
      const { mean, half } = alone.added.find(({ arm }) => arm === 'otel-breaker')!.microseconds;
      return [`added to a call of ${client} (± ${half.toFixed(2)})`, mean, MICROSECONDS[client], ' µs'];
    }),
    ...clients.flatMap(({ client, alone }): Goal[] => {
      const limit = BYTES[client];
      if (limit === undefined) return [];
      const { mean } = alone.added.find(({ arm }) => arm === 'otel-breaker')!.bytes;
      return [[`allocated for a call of ${client}`, mean, limit, ' bytes']];
    }),
    ...clients.map(({ client, alone, traced }): Goal => {
      const without = alone.added.find(({ arm }) => arm === 'otel-breaker')!.microseconds.mean;
      const { mean } = traced.added.find(({ arm }) => arm === 'otel-breaker')!.microseconds;
      const share = 1.1 * Math.max(without, 0);
      return [`added to a call of ${client} beside OpenTelemetry`, mean, share, ' µs'];
    }),
    [
      '`call()` ÷ the floor with one look at the clock',
      ratio(lean, 'floor: `then` and one look at the clock', 'success'),
      1.1,
    ],
    ['`call()` with all metrics ÷ the floor with two looks', ratio(full, floor, 'success'), 1.1],
    ['success, all metrics ÷ cockatiel sampling', ratio(full, 'cockatiel sampling', 'success'), 0.85],
    ['success, all metrics ÷ opossum', ratio(full, 'opossum', 'success'), 0.15],
    ['rejected in bursts of 32 ÷ cockatiel sampling', ratio(lean, 'cockatiel sampling', 'rejected'), 0.25],
    ['failing call ÷ bare failing call', ratio(lean, bare, 'failure'), 1.2],
    [
      'through an SDK: beyond our own exporter ÷ one `histogram.record`',
      (time(sdk, 'success') - time(full, 'success')) / scale.histogramRecord,
      1,
    ],
    ['bytes per idle breaker, all metrics', memory[full]!.bytes, 512, ''],
    ['timers per idle breaker', memory[full]!.timers, 0, ''],
    [
      "preload on an empty script, beyond OpenTelemetry's API",
      cpu('empty script, preload') - cpu('empty script, the API of OpenTelemetry'),
      30,
      ' ms',
    ],
    ['a scrape of 1,000 breakers: CPU', scale.page, 40, ' ms'],
    ['… the longest turn of the event loop', scale.longestTurn, 10, ' ms'],
    ['the longest turn of the event loop while starting', scale.startingTurn, 20, ' ms'],
    ['look-up with 1,000 rules', scale.guardEnter, 300, ' ns'],
  ];
}

const MICROSECONDS: Readonly<Record<StreamClient, number>> = {
  http: 0.8,
  pg: 0.8,
  ioredis: 0.3,
  undici: 1.5,
  fetch: 2,
};
const BYTES: Readonly<Partial<Record<StreamClient, number>>> = { http: 200, undici: 250, pg: 250, ioredis: 200 };
