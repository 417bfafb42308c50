import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../support/child.js';
import { runOutage, type Pattern, type Row, type Seen } from './outage.js';
import { ROWS } from './rows.js';

const OUTAGES_MS = [150, 500, 1_500, 3_000, 10_000];
const RATES_MS = [5, 50];
const DOCUMENT = join(ROOT, 'docs/outages.md');
const BEGIN = '<!-- Written by npm run outages -->';
const END = '<!-- end -->';

/**
 * Takes every client through every outage, with and without us, one after the other, and writes the table into
 * `docs/outages.md`. Arguments are titles of rows to run, such as "ioredis 6"; default all.
 */
async function main(titles: readonly string[]): Promise<void> {
  const lines = [
    '| client | calls | away | failed, without | with | longest wait, without | with | last failure after the return, without | with | loop blocked, without | with | CPU, without | with |',
    `| --- | --- |${' --: |'.repeat(11)}`,
  ];
  for (const row of ROWS) {
    if (titles.length > 0 && !titles.includes(row.title)) continue;
    for (const pattern of row.patterns) {
      for (const everyMs of pattern === 'tight loop' ? [0] : RATES_MS) {
        for (const awayMs of OUTAGES_MS) {
          const line = await measure(row, pattern, everyMs, awayMs);
          console.log(line);
          lines.push(line);
        }
      }
    }
  }
  // Only the whole table replaces the whole table.
  if (titles.length === 0) await replaceTable(lines.join('\n'));
}

async function measure(row: Row, pattern: Pattern, everyMs: number, awayMs: number): Promise<string> {
  const { title, client, service } = row;
  // Reconnecting may take a few seconds after a longer outage.
  const outage = { client, service, pattern, everyMs, awayMs, afterMs: 4_000 };
  const without = await runOutage({ ...outage, preload: false });
  const seen = await runOutage({ ...outage, preload: true });
  const pair = (show: (seen: Seen) => string) => [show(without), show(seen)];
  const cells = [
    title,
    everyMs === 0 ? pattern : `${pattern}, every ${everyMs} ms`,
    `${awayMs / 1_000} s`,
    ...pair(({ alive, failed, calls }) => (alive ? `${failed} of ${calls}` : 'died')),
    ...pair(({ longestMs }) => `${(longestMs / 1_000).toFixed(1)} s`),
    ...pair(({ lastFailureMs }) => (lastFailureMs === 0 ? '–' : `${(lastFailureMs / 1_000).toFixed(1)} s`)),
    ...pair(({ blockedMs }) => `${blockedMs} ms`),
    ...pair(({ cpu }) => `${Math.round(100 * cpu)} %`),
  ];
  return `| ${cells.join(' | ')} |`;
}

async function replaceTable(table: string): Promise<void> {
  const text = await readFile(DOCUMENT, 'utf8');
  const [before] = text.split(BEGIN);
  const after = text.slice(text.indexOf(END));
  await writeFile(DOCUMENT, `${before}${BEGIN}\n\n${table}\n\n${after}`);
}

void main(process.argv.slice(2));
