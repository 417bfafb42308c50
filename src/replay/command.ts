import type { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import { readConfigPath } from '../environment.js';
import { installOutcomes } from '../outcomes/classify.js';
import { findRulesFile } from '../rules/find.js';
import { displayName, loadRulesFile } from '../rules/load.js';
import { RuleSet } from '../rules/rule-set.js';
import { PACKAGE } from '../version.js';
import { BadInput } from './bad-input.js';
import { Calls } from './calls.js';
import { Circuits } from './circuits.js';
import { writePage } from './html.js';
import { Progress, type ProgressOutput } from './progress.js';
import { readCalls } from './read-spans.js';
import { makeReport, type Played } from './make-report.js';
import type { ReplayReport } from './report.js';
import { Trials } from './suggest.js';
import { formatReport } from './table.js';
import { Timeline } from './timeline.js';

/** Where a command reads and writes; a process fits. */
export interface Streams {
  readonly stdin: Readable;
  readonly stdout: { write(text: string): unknown };
  readonly stderr: ProgressOutput;
}

interface Options {
  readonly files: readonly string[];
  readonly rules: string | undefined;
  readonly against: string | undefined;
  readonly suggest: boolean;
  readonly sampled: number | undefined;
  readonly json: boolean;
  readonly html: string | undefined;
}

/** Wrong use of the command itself. */
class UsageError extends Error {
  override readonly name = 'UsageError';
}

const EXIT_PROBLEM = 1;

/**
 * Plays recorded calls to the circuits that rules would have had.
 *
 * @param args what follows `otel-breaker replay`
 * @returns the exit code: 1 where a file is not what it must be
 * @throws UsageError; ConfigError where a rules file has problems
 */
export async function runReplay(args: readonly string[], streams: Streams): Promise<number> {
  const options = parse(args);
  const progress = new Progress(streams.stderr);
  try {
    const sets = [options.rules, ...(options.against === undefined ? [] : [options.against])].map(rulesOf);
    const report = await replay(options, sets, streams.stdin, progress);
    progress.clear();
    for (const { name } of sets.filter(({ ruleSet }) => ruleSet.tellsCallsApart)) {
      streams.stderr.write(`${name}: rules by path or method are not played; their calls are those of their host\n`);
    }
    if (options.html !== undefined) writePage(options.html, report);
    streams.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
    if (options.html !== undefined) streams.stderr.write(`${options.html} written\n`);
    return 0;
  } catch (error) {
    progress.clear();
    if (!(error instanceof BadInput) && !isSystemError(error)) throw error;
    streams.stderr.write(`${PACKAGE.name}: ${error.message}\n`);
    return EXIT_PROBLEM;
  }
}

/** Rules, and what people call them. */
interface NamedRules {
  readonly name: string;
  readonly ruleSet: RuleSet;
}

async function replay(
  options: Options,
  sets: readonly NamedRules[],
  input: Readable,
  progress: Progress,
): Promise<ReplayReport> {
  installOutcomes();
  const calls = new Calls();
  const played: Played[] = sets.map(({ name, ruleSet }) => ({
    name,
    circuits: new Circuits(calls, ruleSet, { inFull: true }),
  }));
  const trials = options.suggest ? new Trials(calls, sets[0]!.ruleSet) : undefined;
  const timeline = new Timeline([...played.map(({ circuits }) => circuits), ...(trials?.circuits ?? [])]);
  const read = await readCalls(
    options.files,
    input,
    calls,
    (...call) => timeline.begin(...call),
    (soFar) => progress.show(soFar),
  );
  timeline.end();
  const suggestions = trials?.best(played[0]!.circuits) ?? null;
  return makeReport(options.files, read, played, options.sampled, suggestions);
}

function rulesOf(given: string | undefined): NamedRules {
  const path = findRulesFile(given ?? readConfigPath());
  if (path === undefined) return { name: 'defaults (no rules file)', ruleSet: new RuleSet() };
  return { name: displayName(path), ruleSet: new RuleSet([loadRulesFile(path)]) };
}

function parse(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rules: { type: 'string' },
      against: { type: 'string' },
      suggest: { type: 'boolean', default: false },
      sampled: { type: 'string' },
      json: { type: 'boolean', default: false },
      html: { type: 'string' },
    },
  });
  if (positionals.length === 0) throw new UsageError('no traces given: name a file, or - for standard input');
  const { rules, against, suggest, sampled, json, html } = values;
  return {
    files: positionals,
    rules,
    against,
    suggest,
    json,
    html,
    sampled: sampled === undefined ? undefined : shareOf(sampled),
  };
}

function shareOf(text: string): number {
  const share = text.endsWith('%') ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (share > 0 && share <= 1) return share;
  throw new UsageError(`--sampled: got "${text}"; use the share of traces that was kept, above 0 and at most 1: 0.1`);
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string';
}
