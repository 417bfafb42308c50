import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { format, resolveConfig } from 'prettier';
import { ROOT } from '../support/child.js';
import { between } from '../support/golden.js';
import { needProgram } from '../support/programs.js';
import { runProcesses } from './processes.js';
import { simulate, type Fault, type Outcome, type Scenario } from './simulation.js';

const DOCUMENT = join(ROOT, 'docs/fleet.md');
const OUTAGE = { diesAt: 20_000, recoversAt: 50_000, until: 65_000 };

/**
 * Plays fleets in virtual time and with twenty real processes over a real Redis, and writes the tables of `docs/fleet.md`.
 *
 * - `--model`: checks the model of the protocol by Spin, and nothing else
 * - `--simulation`: without the real processes
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { model: { type: 'boolean', default: false }, simulation: { type: 'boolean', default: false } },
  });
  if (values.model) return checkModel();
  const rows: Row[] = [];
  for (const [replicas, rate] of [
    [10, 5],
    [50, 5],
    [200, 5],
    [200, 0.5],
    [1_000, 2],
  ] as const) {
    const runs = (fleet: boolean) => mean(play(replicas > 500 ? 2 : 5, { replicas, rate, fleet, ...OUTAGE }));
    rows.push({ title: `${replicas.toLocaleString('en')} × ${rate}`, without: runs(false), with: runs(true) });
    console.log(rows.at(-1)!.title);
  }
  if (!values.simulation) {
    const [without, withFleet] = [await runProcesses(20, false), await runProcesses(20, true)];
    rows.push({ title: '20 real processes × 5', without, with: withFleet });
  }
  await write('outages of fleets', outages(rows));
  await write('poisoned replicas', poisoned());
  await write('faults of the engine', faults());
}

type Numbers = Pick<
  Outcome,
  'failingCalls' | 'allOpenAfter' | 'probesPerSecond' | 'allClosedAfter' | 'commandsPerSecond'
> &
  Partial<Outcome>;

interface Row {
  readonly title: string;
  readonly without: Numbers;
  readonly with: Numbers;
}

function play(seeds: number, scenario: Scenario): Outcome[] {
  return Array.from({ length: seeds }, (_, seed) => simulate({ ...scenario, seed: seed + 1 }));
}

function mean(runs: readonly Outcome[]): Outcome {
  const keys = Object.keys(runs[0]!) as (keyof Outcome)[];
  return Object.fromEntries(
    keys.map((key) => [key, runs.reduce((sum, run) => sum + run[key], 0) / runs.length]),
  ) as unknown as Outcome;
}

function outages(rows: readonly Row[]): string {
  const pair = (row: Row, show: (numbers: Numbers) => string) => `${show(row.without)} → ${show(row.with)}`;
  return table(
    [
      'replicas × calls a second',
      'failing calls until all are open',
      'all open after',
      'probes a second while dead',
      'all closed after the return',
      'commands a second and replica',
    ],
    rows.map((row) => [
      row.title,
      pair(row, ({ failingCalls }) => count(failingCalls)),
      pair(row, ({ allOpenAfter }) => seconds(allOpenAfter)),
      pair(row, ({ probesPerSecond }) => probesPerSecond.toFixed(1)),
      pair(row, ({ allClosedAfter }) => seconds(allClosedAfter)),
      row.with.commandsPerSecond.toFixed(2),
    ]),
  );
}

function poisoned(): string {
  const rows = [
    [1, 50],
    [5, 50],
    [20, 200],
    [30, 60],
  ].map(([bad, replicas]) => {
    const { wronglyRejected, healthyCalls, openings } = mean(
      play(3, { replicas: replicas!, rate: 5, fleet: true, poisoned: bad!, until: 60_000 }),
    );
    return [`${bad} of ${replicas}`, count(healthyCalls), count(wronglyRejected), count(openings)];
  });
  return table(
    [
      'replicas that cannot reach a target that is well',
      'calls of the others',
      'of these rejected',
      'verdicts, all taken back',
    ],
    rows,
  );
}

function faults(): string {
  const scenario = { replicas: 50, rate: 5, ...OUTAGE, until: 75_000 };
  const without = mean(play(5, { ...scenario, fleet: false }));
  const row = (title: string, { failed, allClosedAfter }: Outcome) => [title, count(failed), seconds(allClosedAfter)];
  const rows = [row('no fleet', without), row('a fleet', mean(play(5, { ...scenario, fleet: true })))];
  for (const fault of ['killed', 'stopped', 'slow', 'flushed'] satisfies Fault[]) {
    for (const [when, faultAt] of [
      ['before the outage', 19_000],
      ['within it', 30_000],
    ] as const) {
      rows.push(row(`${fault} ${when}`, mean(play(5, { ...scenario, fleet: true, fault, faultAt }))));
    }
  }
  return table(['engine', 'failed calls', 'all closed after the return'], rows);
}

function count(number: number): string {
  return Math.round(number).toLocaleString('en');
}

function seconds(ms: number): string {
  return Number.isFinite(ms) ? `${(ms / 1_000).toFixed(ms < 1_000 ? 2 : 1)} s` : 'later';
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '---'), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

async function write(name: string, text: string): Promise<void> {
  console.log(`\n${text}`);
  const whole = between(await readFile(DOCUMENT, 'utf8'), name, text);
  await writeFile(DOCUMENT, await format(whole, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT }));
}

/** Spin makes a program of the model that goes through every state there can be. */
async function checkModel(): Promise<void> {
  const [spin, cc] = [needProgram('spin'), needProgram('gcc', 'cc')];
  const directory = await mkdtemp(join(tmpdir(), 'otel-breaker-model-'));
  const run = (file: string, args: readonly string[], env: NodeJS.ProcessEnv) => {
    const { status, stdout, stderr, error } = spawnSync(file, args, { cwd: directory, env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${file} failed: ${error?.message ?? stdout + stderr}`);
    return stdout;
  };
  try {
    await copyFile(join(__dirname, 'fleet.pml'), join(directory, 'fleet.pml'));
    const ways = [
      { name: 'no assertion fails', model: [], flags: ['-DSAFETY', '-DNOCLAIM'], args: [] },
      { name: 'nobody is held for ever', model: ['-DLIVE'], flags: ['-DNFAIR=3'], args: ['-a', '-f'] },
    ];
    for (const { name, model, flags, args } of ways) {
      run(spin.file, [...model, '-a', 'fleet.pml'], spin.env);
      run(cc.file, ['-O2', '-DCOLLAPSE', '-DMEMLIM=1500', ...flags, '-o', 'pan', 'pan.c'], cc.env);
      const report = run(join(directory, 'pan'), ['-m1000000', ...args], process.env);
      const states = /([\d.e+]+) states, stored/.exec(report)?.[1];
      if (!report.includes('errors: 0') || /max search depth too small|out of memory/.test(report)) {
        throw new Error(`The model of the fleet does not hold: ${name}\n${report}`);
      }
      console.log(`the model of the fleet: ${name}, in all of ${Number(states).toLocaleString('en')} states`);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
