import type { Results } from './run.js';

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
  const ratio = (contender: string, other: string, scenario: string) =>
    time(contender, scenario) / time(other, scenario);
  const bytes = (contender: string) => of(contender).bytes.success!.median - of(bare).bytes.success!.median;
  const added = (client: string) => 100 * clients.find((row) => row.client === client)!.added.alone.median;
  const cpu = (what: string) => startup.find((row) => row.what === what)!.cpu.median;
  return [
    ['success, window, no metrics ÷ bare', ratio(lean, bare, 'success'), 2.1],
    ['success, all metrics ÷ bare', ratio(full, bare, 'success'), 2.8],
    ['success, all metrics ÷ cockatiel sampling', ratio(full, 'cockatiel sampling', 'success'), 1 / 1.5],
    ['success, all metrics ÷ opossum', ratio(full, 'opossum', 'success'), 1 / 8],
    ['failure ÷ bare', ratio(lean, bare, 'failure'), 1.2],
    ['rejected ÷ Promise.reject(new Error())', ratio(lean, bare, 'rejected'), 1],
    ['rejected ÷ cockatiel sampling', ratio(lean, 'cockatiel sampling', 'rejected'), 1 / 4],
    ['rejected ÷ opossum', ratio(lean, 'opossum', 'rejected'), 1 / 4],
    ['bytes per successful call beyond bare, no metrics', bytes(lean), 125, ''],
    ['bytes per successful call beyond bare, all metrics', bytes(full), 125, ''],
    ['bytes per idle breaker', memory[lean]!.bytes, 512, ''],
    ['bytes per idle breaker, all metrics', memory[full]!.bytes, 512, ''],
    ['timers per idle breaker', memory[full]!.timers, 0, ''],
    ['CPU added to a call of http', added('http'), 2, ' %'],
    ['CPU added to a call of fetch', added('fetch'), 2, ' %'],
    ['CPU added to a call of undici', added('undici'), 2, ' %'],
    ['CPU added to a command of ioredis, 100 callers', added('ioredis'), 5, ' %'],
    ['CPU added to a statement of pg', added('pg'), 2, ' %'],
    [
      "preload on an empty script, beyond OpenTelemetry's API",
      cpu('empty script, preload') - cpu('empty script, the API of OpenTelemetry'),
      30,
      ' ms',
    ],
    ['a scrape of 1,000 breakers', scale.page, 30, ' ms'],
  ];
}
