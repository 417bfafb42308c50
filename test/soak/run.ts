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

const ATTACKED_FOR_S = Number(process.env.SOAK_SECONDS ?? 600);

function attackedTable({ systems, attacks, writes, faults, heap, rss, longest }: Attacked): string {
  const rows = Object.entries(systems).flatMap(([system, { counted, seen }]) => {
    const { success, failure, ignored, rejected, evidence } = counted;
    const counts = [
      success + failure + ignored + rejected - evidence,
      success,
      failure,
      ignored,
      rejected,
      0,
      evidence,
    ];
    const { calls, answered, failed, left } = seen;
    const lived = [`${number(answered)} answered`, `${number(failed)} failed`, `${number(left)} left`];
    return [
      `| ${system}: breakers | ${counts.map(number).join(' | ')} |`,
      `| the application | ${number(calls)} | ${lived.join(' | ')} | ${number(seen.rejected)} | | |`,
    ];
  });
  const transitions = Object.values(systems).reduce((sum, { counted }) => sum + counted.transitions, 0);
  return [
    `Seed ${SEED}, ${number(ATTACKED_FOR_S / 60)} minutes, ${number(attacks)} attacks on the port, the rules written ${number(writes)} times,`,
    `${number(faults)} faults of Redis and PostgreSQL:`,
    '',
    '| counted by | calls | success | failure | ignored | rejected | in flight | no calls |',
    '| --- | --: | --: | --: | --: | --: | --: | --: |',
    ...rows,
    '',
    `${number(transitions)} transitions; heap at the end ${megabytes(heap)}, all memory ${megabytes(rss)}; the event loop was held for`,
    `${number(longest)} ms at most. What the application calls answered, failed and left is what it did and got: a \`503\` is an`,
    'answer for it and a failure for the breaker; who left before a rejection came has not heard of it. Failures that are no',
    'calls are connections of ioredis that were lost while no command waited.',
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
