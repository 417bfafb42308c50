import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../support/child.js';
import { writeFindings } from '../support/report.js';
import { MEASURED_FILE, type Measured } from './measured.js';

interface Outcome {
  readonly tests: readonly {
    readonly title: string;
    readonly fullTitle: string;
    readonly duration?: number;
    readonly err: object;
  }[];
}

/** Runs all tests in this folder, and nothing else. */
function runTests(measuredFile: string): Outcome {
  const files = readdirSync(__dirname).filter((name) => name.endsWith('.test.ts'));
  const set = ['--no-config', '--exit', '--require', 'tsx/cjs', '--require', 'test/support/mocha-hooks.ts'];
  const args = [...set, '--timeout', '60000', '--reporter', 'json', ...files.map((name) => join(__dirname, name))];
  const mocha = join(ROOT, 'node_modules/mocha/bin/mocha.js');
  const env = { ...process.env, [MEASURED_FILE]: measuredFile };
  return JSON.parse(execFileSync(process.execPath, [mocha, ...args], { cwd: ROOT, encoding: 'utf8', env })) as Outcome;
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'otel-breaker-measured-'));
  const file = join(folder, 'measured');
  writeFileSync(file, '');
  const { tests } = runTests(file);
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  rmSync(folder, { recursive: true });
  const measured = new Map(lines.map((line) => JSON.parse(line) as Measured).map(({ test, text }) => [test, text]));
  const rows = tests.map(({ title, fullTitle, duration = 0 }) => {
    const suite = fullTitle.slice(0, -title.length).trim();
    return `| ${suite} | ${title.replaceAll('|', '\\|')} | ${measured.get(fullTitle) ?? `${duration} ms`} |`;
  });
  const head = ['| attack by | result | measured |', '| --- | --- | --- |'];
  const table = [`Node ${process.versions.node}:`, '', ...head, ...rows].join('\n');
  await writeFindings('hostile', table);
  console.log(table);
}

void main();
