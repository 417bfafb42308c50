import { writeFindings } from '../support/report.js';
import { growth, soak, soakUnderAttack, type Attacked, type Stretch } from './soak.js';

const CALLS = 1_000_000;
const HTTP_CALLS = 50_000;
const SEED = 10;
// The last transitions of each breaker are kept; beyond that, a call must leave nothing.
const MAX_GROWTH = 3_000_000;

const number = (value: number) => value.toLocaleString('en');
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

function row(name: string, stretch: Stretch): string {
  const { success, failure, ignored, rejected, transitions, checkpoints } = stretch;
  const counts = [success + failure + ignored + rejected, success, failure, ignored, rejected, transitions];
  const handles = new Set(checkpoints.map((checkpoint) => checkpoint.handles.join()));
  if (handles.size !== 1) throw new Error(`${name}: handles changed: ${[...handles].join(' | ')}`);
  const grown = growth(stretch);
  if (grown > MAX_GROWTH) throw new Error(`${name}: the heap grew by ${megabytes(grown)}`);
  const heap = checkpoints.map((checkpoint) => checkpoint.heap);
  const cells = [name, ...counts.map(number), megabytes(Math.min(...heap.slice(1, 4))), megabytes(grown)];
  return `| ${cells.join(' | ')} |`;
}

const ATTACKED_FOR_S = 600;

function attackedTable({ seen, attacks, writes, heap, rss, longest, ...counts }: Attacked): string {
  const { success, failure, ignored, rejected, inFlight, transitions } = { inFlight: 0, ...counts };
  return [
    `Seed ${SEED}, ten minutes, ${number(attacks)} attacks on the port, the rules written ${number(writes)} times:`,
    '',
    '| counted by | calls | success | failure | ignored | rejected | in flight |',
    '| --- | --: | --: | --: | --: | --: | --: |',
    `| breakers | ${[success + failure + ignored + rejected, success, failure, ignored, rejected, inFlight].map(number).join(' | ')} |`,
    `| the application | ${number(seen.calls)} | ${number(seen.answered)} answered | ${number(seen.failed)} failed | ${number(seen.left)} left | ${number(seen.rejected)} | |`,
    '',
    `${number(transitions)} transitions; heap at the end ${megabytes(heap)}, all memory ${megabytes(rss)}; the event loop was held for`,
    `${number(longest)} ms at most. What the application calls answered, failed and left is what it did and got: a \`503\` is an`,
    'answer for it and a failure for the breaker; who left before a rejection came has not heard of it.',
  ].join('\n');
}

async function main(): Promise<void> {
  if (process.argv.includes('--attacked')) {
    const table = attackedTable(await soakUnderAttack(ATTACKED_FOR_S, SEED));
    await writeFindings('attacked soak', table);
    console.log(table);
    return;
  }
  const { breakers, real, scrapes, seconds } = await soak(CALLS, HTTP_CALLS, SEED);
  const table = [
    `Seed ${SEED}, Node ${process.versions.node}, ${Math.round(seconds)} s, scraped ${number(scrapes)} times:`,
    '',
    '| calls | in all | success | failure | ignored | rejected | transitions | heap | it grew by |',
    '| --- | --: | --: | --: | --: | --: | --: | --: | --: |',
    row('through the guard', breakers),
    row('by http and fetch', real),
    '',
    'Heap: the lowest of the second to fourth checkpoint, and by how much the lowest of the last three is above it. The open',
    'handles of the process were the same at all checkpoints, no rejection was unhandled.',
  ].join('\n');
  await writeFindings('soak', table);
  console.log(table);
}

void main();
