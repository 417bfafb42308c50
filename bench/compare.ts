/**
 * `npm run bench:compare -- [base] [head]`: what calls through the clients cost in one commit and in another, on streams within
 * the process, in paired processes that take turns. The base stands against itself as well: what that row shows is what this
 * machine can tell apart today. Ends with 1 where the head is dearer beyond doubt.
 *
 *     --sets 8            processes for each arm
 *     --clients http,pg   which clients; default all
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { STREAM_CLIENTS, type StreamClient } from './streams/clients.js';
import { formatInterval, type Interval } from './streams/interval.js';
import { measureStreams, type Added, type StreamCosts } from './streams/measure.js';

const ROOT = join(__dirname, '..');
// Within the repository, so that both commits find the packages of this one.
const BUILDS = join(ROOT, '.bench');
// Less than this is not worth a red build, however sure it is.
const LEAST_MICROSECONDS = 0.1;
const LEAST_BYTES = 24;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { sets: { type: 'string', default: '8' }, clients: { type: 'string' } },
  });
  const [base = 'HEAD~1', head = 'HEAD'] = positionals;
  const clients = (values.clients?.split(',') ?? STREAM_CLIENTS) as readonly StreamClient[];
  const dearer: string[] = [];
  try {
    const [baseBuild, headBuild] = [build(base), build(head)];
    const lines = [
      `| a call on streams: ${base} → ${head} | ${base} | added by ${base} itself (A/A) | added by ${head} | |`,
      '|---|--:|--:|--:|---|',
    ];
    for (const client of clients) {
      const arms = [
        { name: 'base', around: baseBuild },
        { name: 'A/A', around: baseBuild },
        { name: 'head', around: headBuild },
      ];
      const costs = await measureStreams(client, arms, Number(values.sets));
      lines.push(
        row(costs, 'microseconds', 2, LEAST_MICROSECONDS, dearer),
        row(costs, 'bytes', 0, LEAST_BYTES, dearer),
      );
      console.error(client);
    }
    report(lines);
  } finally {
    for (const commit of [base, head]) remove(commit);
  }
  if (dearer.length > 0) {
    console.error(`dearer than ${base}: ${dearer.join(', ')}`);
    process.exitCode = 1;
  }
}

/** @returns the folder of its build */
function build(commit: string): string {
  const tree = treeOf(commit);
  mkdirSync(BUILDS, { recursive: true });
  remove(commit);
  git('worktree', 'add', '--detach', '--force', tree, commit);
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: tree, stdio: 'inherit' });
  return join(tree, 'dist');
}

function remove(commit: string): void {
  rmSync(treeOf(commit), { recursive: true, force: true });
  git('worktree', 'prune');
}

function treeOf(commit: string): string {
  return join(BUILDS, git('rev-parse', '--short', commit));
}

function git(...args: readonly string[]): string {
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
}

function row(
  costs: StreamCosts,
  what: 'microseconds' | 'bytes',
  digits: number,
  least: number,
  dearer: string[],
): string {
  const of = (name: string) => costs.added.find(({ arm }: Added) => arm === name)![what];
  const [itself, head] = [of('A/A'), of('head')];
  const isDearer = lowest(head) > Math.max(least, highest(itself));
  const isCheaper = highest(head) < Math.min(-least, lowest(itself));
  const unit = what === 'bytes' ? 'bytes' : 'µs';
  if (isDearer) dearer.push(`${costs.client} (${unit})`);
  const verdict = isDearer ? '**dearer**' : isCheaper ? 'cheaper' : '';
  const cells = [costs[what], itself, head].map((one) => formatInterval(one, digits));
  return `| ${costs.client}, ${unit} | ${cells.join(' | ')} | ${verdict} |`;
}

const lowest = ({ mean, half }: Interval) => mean - half;
const highest = ({ mean, half }: Interval) => mean + half;

/** Also where a job of GitHub shows it. */
function report(lines: readonly string[]): void {
  const text = `${lines.join('\n')}\n`;
  console.log(text);
  const { GITHUB_STEP_SUMMARY: summary } = process.env;
  if (summary !== undefined) appendFileSync(summary, text);
}

void main();
