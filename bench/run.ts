/**
 * `npm run bench`: all contenders side by side, interleaved, each in a process of its own; medians of several rounds.
 * Prints a table, and writes it to docs/performance.md and the figures to bench/results.json.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CONTENDERS } from './contenders.js';
import type { Measurement, Scenario } from './worker.js';

const ROOT = join(__dirname, '..');
const SCENARIOS: readonly Scenario[] = ['success', 'success, 100 at once', 'failure', 'rejected'];
const PAGE = join(ROOT, 'docs/performance.md');

interface Row {
  readonly contender: string;
  /** By scenario; missing where it cannot be measured. */
  readonly nanoseconds: Readonly<Record<string, Spread>>;
  readonly bytes: Readonly<Record<string, Spread>>;
}

interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

function main(): void {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } });
  const rounds = Number(values.rounds);
  const results = new Map<string, Measurement[]>();
  for (let round = 1; round <= rounds; round++) {
    for (const scenario of SCENARIOS) {
      for (const { name, alwaysTrips } of CONTENDERS) {
        if (scenario === 'failure' && alwaysTrips === true) continue;
        const key = `${scenario}|${name}`;
        results.set(key, [...(results.get(key) ?? []), measure(scenario, name)]);
      }
      console.error(`round ${round} of ${rounds}: ${scenario}`);
    }
  }
  const rows = CONTENDERS.map(({ name }) => rowOf(name, results));
  const table = tableOf(rows);
  console.log(table);
  writeFileSync(join(ROOT, 'bench/results.json'), `${JSON.stringify({ machine: machine(), rounds, rows }, null, 2)}\n`);
  writePage(`${machine()}; medians of ${rounds} rounds.\n\n${table}`);
}

function measure(scenario: Scenario, contender: string): Measurement {
  const args = ['--expose-gc', '--max-semi-space-size=128', '--require', 'tsx/cjs', join(__dirname, 'worker.ts')];
  return JSON.parse(
    execFileSync(process.execPath, [...args, scenario, contender], { cwd: ROOT, encoding: 'utf8' }),
  ) as Measurement;
}

function rowOf(contender: string, results: ReadonlyMap<string, readonly Measurement[]>): Row {
  const nanoseconds: Record<string, Spread> = {};
  const bytes: Record<string, Spread> = {};
  for (const scenario of SCENARIOS) {
    const measured = results.get(`${scenario}|${contender}`);
    if (measured === undefined) continue;
    nanoseconds[scenario] = spread(measured.map((measurement) => measurement.nanoseconds));
    bytes[scenario] = spread(measured.map((measurement) => measurement.bytes));
  }
  return { contender, nanoseconds, bytes };
}

function tableOf(rows: readonly Row[]): string {
  const bare = rows[0]!;
  const lines = rows.map((row) => {
    const cells = SCENARIOS.map((scenario) => {
      const time = row.nanoseconds[scenario];
      if (time === undefined) return '–';
      const ratio = time.median / bare.nanoseconds[scenario]!.median;
      return `${format(time.median)} (${format(time.min)}–${format(time.max)}) · ${ratio.toFixed(1)}×`;
    });
    const beyondBare = row.bytes.success!.median - bare.bytes.success!.median;
    return `| ${row.contender} | ${cells.join(' | ')} | ${row === bare ? '–' : format(beyondBare)} |`;
  });
  const heads = SCENARIOS.map((scenario) => `${scenario}: ns`);
  return [
    `| | ${heads.join(' | ')} | bytes per successful call, beyond bare |`,
    `|---|${heads.map(() => '--:').join('|')}|--:|`,
    ...lines,
  ].join('\n');
}

/** Replaces what stands between the marks of the page. */
function writePage(text: string): void {
  const page = readFileSync(PAGE, 'utf8');
  writeFileSync(PAGE, page.replace(/(<!-- bench -->)[^]*(<!-- \/bench -->)/, `$1\n\n${text}\n\n$2`));
}

function machine(): string {
  return `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown processor'}`;
}

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: sorted[0]!, median: sorted[Math.floor(sorted.length / 2)]!, max: sorted.at(-1)! };
}

function format(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

main();
