import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { format, resolveConfig } from 'prettier';
import { ROOT } from '../support/child.js';
import { runOutage, type Caller, type Row } from './outage.js';
import { measureKills } from './killed-run.js';
import { ROWS } from './rows.js';
import { details, DETAILS, parse, replaced, shown, SUMMARY, summary, type Line } from './table.js';

const OUTAGES_MS = [150, 500, 1_500, 3_000, 10_000];
const RATES_MS = [5, 50];
const DOCUMENT = join(ROOT, 'docs/outages.md');
/**
 * Takes clients through outages, with and without us at the same time, and writes the tables of `docs/outages.md`. A table
 * keeps what is not measured again, so that it can be made in pieces:
 *
 * - `--only WORD`: clients whose title has that word, such as `redis`; may be repeated
 * - `--away MS`: outages of that length only; may be repeated
 * - `--missing`: what the table does not have yet, as after a run that was stopped
 * - `--minutes N`: begins nothing new after so many minutes
 * - `--callers`: servers that are killed under 100 callers, for 4 and 60 s; with `--only` and `--away`
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true, default: [] },
      away: { type: 'string', multiple: true, default: [] },
      missing: { type: 'boolean', default: false },
      callers: { type: 'boolean', default: false },
      minutes: { type: 'string', default: 'Infinity' },
    },
  });
  const until = performance.now() + Number(values.minutes) * 60_000;
  const isWanted = ({ title }: Row, awayMs: number) =>
    (values.only.length === 0 || values.only.some((word) => title.toLowerCase().includes(word.toLowerCase()))) &&
    (values.away.length === 0 || values.away.includes(String(awayMs)));

  if (values.callers) return measureKills(DOCUMENT, ROWS, isWanted);
  for (const row of ROWS) {
    for (const awayMs of OUTAGES_MS) {
      if (!isWanted(row, awayMs) || performance.now() > until) continue;
      if (values.missing && (await measured()).some((line) => line.title === row.title && line.awayMs === awayMs)) {
        continue;
      }
      const lines = await measure(row, awayMs);
      console.log(details(lines).split('\n').slice(2).join('\n'));
      await record(lines);
    }
  }
}

async function measure(row: Row, awayMs: number): Promise<Line[]> {
  const ways = row.patterns.flatMap((pattern) =>
    (pattern === 'tight loop' ? [0] : RATES_MS).map((everyMs) => ({ pattern, everyMs })),
  );
  // A loop whose calls fail takes a whole core without us: it must not slow the others down.
  const [tight, others] = [true, false].map((isTight) =>
    ways.filter(({ pattern }) => (row.failsWithout !== false && pattern === 'tight loop') === isTight),
  ) as [Way[], Way[]];
  return [...(await measureTogether(row, others, awayMs)), ...(await measureTogether(row, tight, awayMs))];
}

type Way = Pick<Line, 'pattern' | 'everyMs'>;

async function measureTogether(row: Row, ways: readonly Way[], awayMs: number): Promise<Line[]> {
  if (ways.length === 0) return [];
  const callers: Caller[] = ways.flatMap((way) => [false, true].map((preload) => ({ ...way, preload })));
  // The preload must have loaded all of itself before, and reconnecting may take a few seconds after a longer outage.
  const seen = await runOutage({ ...row, callers, awayMs, beforeMs: 2_500, quietMs: 1_500, afterMs: 10_000 });
  for (const [at, { alive, said }] of seen.entries()) if (!alive) console.error(callers[at], said);
  return ways.map(({ pattern, everyMs }, at) => ({
    title: row.title,
    pattern,
    everyMs,
    awayMs,
    without: shown(seen[2 * at]!, pattern),
    with: shown(seen[2 * at + 1]!, pattern),
  }));
}

async function measured(): Promise<Line[]> {
  return parse(await readFile(DOCUMENT, 'utf8'), DETAILS);
}

/** Puts runs into the tables, in the place of what these say of the same clients and outages. */
async function record(lines: readonly Line[]): Promise<void> {
  const text = await readFile(DOCUMENT, 'utf8');
  const isNew = (old: Line) => lines.some(({ title, awayMs }) => title === old.title && awayMs === old.awayMs);
  const all = [...parse(text, DETAILS).filter((old) => !isNew(old)), ...lines];
  const titles = ROWS.map(({ title }) => title);
  const known = all.filter(({ title }) => titles.includes(title));
  known.sort(
    (a, b) =>
      titles.indexOf(a.title) - titles.indexOf(b.title) ||
      a.pattern.localeCompare(b.pattern) ||
      a.everyMs - b.everyMs ||
      a.awayMs - b.awayMs,
  );
  const renewed = replaced(replaced(text, SUMMARY, summary(known)), DETAILS, details(known));
  await writeFile(DOCUMENT, await format(renewed, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT }));
}

void main();
