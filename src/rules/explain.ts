import { formatPercent } from '../breaker/format.js';
import { OPTIONS, type CallCount } from '../breaker/options.js';
import { bodyOf, statusOf, type RespondWith } from '../breaker/respond-with.js';
import { targetName, type Target } from '../target.js';
import type { Endpoint } from './match.js';
import type { FleetConfig } from './rule.js';
import type { Explanation } from './rule-set.js';
import { isShared } from './shared.js';

/** An explanation as people read it: the rule, the breaker, and a table of options. */
export function formatExplanation(
  target: Target,
  explanation: Explanation,
  file: string | undefined,
  { method, path }: Endpoint = {},
): string {
  const { name, shared, options, panicThreshold, fleet } = explanation;
  const head = [
    ['target', `${targetName(target)} (${target.system})`],
    ...(path === undefined ? [] : [['call', method === undefined ? path : `${method} ${path}`]]),
    ['rules', file ?? 'no file'],
    ['rule', describeRule(explanation)],
    ['breaker', `${name}${shared ? ' (may be shared with other targets)' : ''}`],
    ['panic', describePanic(panicThreshold)],
    ...(fleet === undefined ? [] : [['fleet', describeFleet(explanation, fleet)]]),
  ];
  const order = Object.keys(OPTIONS);
  const rows = options
    .toSorted((a, b) => order.indexOf(a.key) - order.indexOf(b.key))
    .map(({ key, value, source }) => [key, formatValue(key, value), source]);
  return `${table(head)}\n\n${table([['option', 'value', 'from'], ...rows])}\n`;
}

function describeRule({ rule, ofCalls, base }: Explanation): string {
  if (rule === undefined) return 'none matches';
  if (ofCalls === undefined) return rule;
  return `${rule}, for these calls; the circuit is by ${base ?? 'no rule'}`;
}

function describeFleet(explanation: Explanation, { mode = 'observe' }: FleetConfig): string {
  if (mode === 'off') return 'off';
  const given = explanation.config.fleet;
  if (isShared(explanation))
    return `shared, mode ${mode}${given === undefined ? ' (default for targets on other machines)' : ''}`;
  return given === undefined ? 'not shared: the target is another one on each machine' : 'not shared';
}

function describePanic({ value, source }: Explanation['panicThreshold']): string {
  const words =
    value === 1 ? 'off' : `none rejects where more than ${formatPercent(value)} of targets become unreachable at once`;
  return `${words} (${source})`;
}

/** The value of an option as one would write it in a rules file. */
export function formatValue(key: string, value: unknown): string {
  const { kind } = OPTIONS[key as keyof typeof OPTIONS];
  if (kind === 'window' && typeof value === 'object') return `${(value as CallCount).calls} calls`;
  if ((kind === 'duration' || kind === 'window') && value !== 'off') return formatDuration(value as number);
  if (typeof value === 'function') return 'a function';
  if (key === 'respondWith') return describeAnswer(value as RespondWith);
  return Array.isArray(value) ? value.join(', ') : String(value);
}

/** An answer in few words: `200, 2 bytes of application/json`. */
export function describeAnswer(answer: RespondWith): string {
  const { bytes, type } = bodyOf(answer);
  const headers = Object.entries(answer.headers ?? {});
  const own = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
  return `${statusOf(answer)}, ${bytes.byteLength} bytes of ${own ?? type ?? 'nothing'}`;
}

/** As one would write it in a rules file. */
export function formatDuration(ms: number): string {
  if (ms > 0 && ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms >= 1_000 ? `${ms / 1_000}s` : `${ms}ms`;
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
