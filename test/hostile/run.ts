import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/child.js';
import { writeFindings } from '../support/report.js';

interface Outcome {
  readonly tests: readonly { readonly title: string; readonly fullTitle: string; readonly err: object }[];
}

/** Runs all tests in this folder, and nothing else. */
function runTests(): Outcome {
  const files = readdirSync(__dirname).filter((name) => name.endsWith('.test.ts'));
  const set = ['--no-config', '--exit', '--require', 'tsx/cjs', '--require', 'test/support/mocha-hooks.ts'];
  const args = [...set, '--timeout', '60000', '--reporter', 'json', ...files.map((name) => join(__dirname, name))];
  const mocha = join(ROOT, 'node_modules/mocha/bin/mocha.js');
  return JSON.parse(execFileSync(process.execPath, [mocha, ...args], { cwd: ROOT, encoding: 'utf8' })) as Outcome;
}

async function main(): Promise<void> {
  const { tests } = runTests();
  const rows = tests.map(({ title, fullTitle }) => {
    const suite = fullTitle.slice(0, -title.length).trim();
    return `| ${suite} | ${title.replaceAll('|', '\\|')} |`;
  });
  const table = [`Node ${process.versions.node}:`, '', '| who | what holds |', '| --- | --- |', ...rows].join('\n');
  await writeFindings('hostile', table);
  console.log(table);
}

void main();
