import { readFile, writeFile } from 'node:fs/promises';
import { format, resolveConfig } from 'prettier';
import { KILLED, killedLines, killedTable, parseKilled, type KilledLine } from './killed-table.js';
import { runKill, type Arm } from './killed.js';
import type { Row } from './outage.js';
import { sideBySide } from './side-by-side.js';
import { replaced } from './table.js';

const AWAY_MS = [4_000, 60_000];
// The openings of a minute's outage may last for 15 s, and a channel of gRPC waits for longer before it connects again.
const AFTER_MS = 45_000;
// Most of an outage is waiting; but callers that fail at once keep a core busy.
const SIDE_BY_SIDE = 3;

/**
 * Kills servers under 100 callers of each client that is taken through it, and writes the table of the document. It keeps what
 * is not measured again.
 *
 * @param isWanted which clients and outages
 */
export async function measureKills(
  document: string,
  rows: readonly Row[],
  isWanted: (row: Row, awayMs: number) => boolean,
): Promise<void> {
  const runs = rows
    .filter(({ underCallers }) => underCallers !== undefined)
    .flatMap((row) => AWAY_MS.map((awayMs) => ({ row, awayMs })))
    .filter(({ row, awayMs }) => isWanted(row, awayMs))
    .sort((a, b) => a.awayMs - b.awayMs);
  const titles = rows.map(({ title }) => title);
  let recorded = Promise.resolve();
  const take = async ({ row, awayMs }: (typeof runs)[number]) => {
    try {
      const lines = await measure(row, awayMs);
      recorded = recorded.then(() => record(document, lines, titles));
      await recorded;
    } catch (error) {
      // As where something else took the port of the server meanwhile: the others go on.
      console.error(row.title, error);
      process.exitCode = 1;
    }
  };
  await Promise.all(sideBySide(runs, SIDE_BY_SIDE, take));
}

async function measure(row: Row, awayMs: number): Promise<KilledLine[]> {
  const arms: readonly Arm[] = row.underCallers!.throws ? ['without', 'with', 'throw'] : ['without', 'with'];
  const reports = await runKill({ row, arms, awayMs, beforeMs: 3_000, afterMs: AFTER_MS });
  const byArm = new Map(arms.map((arm, at) => [arm, reports[at]!]));
  for (const [arm, report] of byArm) console.log(JSON.stringify({ title: row.title, awayMs, arm, ...report }));
  return killedLines(row.title, awayMs, byArm);
}

/** Puts lines into the table, in the place of what it says of the same clients and outages. */
async function record(document: string, lines: readonly KilledLine[], titles: readonly string[]): Promise<void> {
  const text = await readFile(document, 'utf8');
  const isNew = (old: KilledLine) => lines.some(({ client, away }) => client === old.client && away === old.away);
  const all = [...parseKilled(text).filter((old) => !isNew(old)), ...lines];
  const place = ({ client }: KilledLine) => titles.indexOf(client.replace(', `throw`', ''));
  all.sort(
    (a, b) => place(a) - place(b) || parseFloat(a.away) - parseFloat(b.away) || a.client.length - b.client.length,
  );
  const renewed = replaced(text, KILLED, killedTable(all));
  await writeFile(document, await format(renewed, { ...(await resolveConfig(document)), filepath: document }));
}
