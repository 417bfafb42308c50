import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { PRELOAD, runNode, spawnNode } from '../support/child.js';
import type { Recorder } from './recorder.js';

/** What was seen during one probe. */
interface Seen {
  readonly story: readonly (readonly unknown[])[];
  readonly asynchronous: Readonly<Record<string, number>>;
  readonly left: Readonly<Record<string, number>>;
  readonly frames: number;
  wire?: readonly string[];
}

/** What code sees of a property that looks at how a client is built. */
type Shape = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Run {
  readonly seen: Readonly<Record<string, Seen>>;
  readonly shape: Shape;
  /** Programs of which only the end is looked at. */
  readonly exits: readonly string[];
  readonly guarded?: { readonly allowed: number; readonly rejected: number };
}

/** One program that is run with and without the preload. */
export interface Subject {
  /** The file of probes. */
  readonly family: string;
  /** What it requires or imports. */
  readonly packages: readonly string[];
  readonly kind: 'cjs' | 'mjs';
  readonly node?: string;
  readonly recorder: Recorder;
  readonly addresses: Readonly<Record<string, unknown>>;
  /** Arguments to Node that make the difference; default the preload. */
  readonly preload?: readonly string[];
  /** The probes to run; default all. */
  readonly only?: readonly string[];
  /** Probes that differ, as we know: they are not tried again. */
  readonly known?: readonly string[];
}

export interface Difference {
  readonly probe: string;
  readonly aspect: string;
  readonly without: unknown;
  readonly with: unknown;
}

export interface Comparison {
  readonly probes: readonly string[];
  readonly exits: readonly string[];
  readonly differences: readonly Difference[];
  /** Properties of the client that are others, and in what. */
  readonly changed: Readonly<Record<string, readonly string[]>>;
  /** Calls that passed a breaker in the run with the preload. */
  readonly guarded: number;
  /** How many frames of ours a listener of the application has below it at most. */
  readonly frames: number;
}

const PROBES = join(__dirname, 'probes');
// A race within a client goes either way, with and without us. What we change is there every time.
const ATTEMPTS = 8;

/** Runs all probes with and without the preload, and those that differ again. */
export async function compare(subject: Subject): Promise<Comparison> {
  const { preload = PRELOAD, only, known = [] } = subject;
  const plain = await run(subject, [], only);
  const baseline = [plain];
  const first = await run(subject, preload, only);
  assert.deepEqual(Object.keys(first.seen), Object.keys(plain.seen));
  assert.equal(first.guarded?.rejected ?? 0, 0, 'the circuits were meant to stay closed');

  const differences = new Map<string, Difference[]>();
  let suspects = Object.keys(plain.seen);
  for (let attempt = 1; suspects.length > 0; attempt++) {
    const now = attempt === 1 ? first : await run(subject, preload, suspects);
    for (const probe of suspects) differences.set(probe, differencesOf(probe, baseline, now));
    if (attempt === ATTEMPTS) break;
    suspects = suspects.filter((probe) => differences.get(probe)!.length > 0 && !known.includes(probe));
    if (suspects.length > 0) baseline.push(await run(subject, [], suspects));
  }

  for (const name of plain.exits) {
    const [without, withUs] = await Promise.all([end(subject, [], name), end(subject, preload, name)]);
    if (!isSame(without, withUs)) differences.set(name, [{ probe: name, aspect: 'end', without, with: withUs }]);
  }
  return {
    probes: Object.keys(first.seen),
    exits: plain.exits,
    differences: [...differences.values()].flat(),
    changed: changesOfShape(plain.shape, first.shape),
    guarded: first.guarded?.allowed ?? 0,
    frames: Math.max(0, ...Object.values(first.seen).map(({ frames }) => frames)),
  };
}

/** How a program of a subject ends: by which code, and what it has printed, the lines of stacks left out. */
async function end(subject: Subject, nodeArgs: readonly string[], exit: string): Promise<unknown> {
  const { code, signal, stdout, stderr } = await runNode({ ...programOf(subject, { exit }), nodeArgs });
  // Of two stacks that have many lines in common, the second is printed without these.
  const lines = stderr.split('\n').filter((line) => !/^\s+(at |\[\.\.\. lines matching)/.test(line));
  return { code, signal, stdout, stderr: lines.join('\n').replace(/\d+/g, '#') };
}

function changesOfShape(without: Shape, withUs: Shape): Record<string, string[]> {
  const changed: Record<string, string[]> = {};
  for (const path of Object.keys({ ...without, ...withUs })) {
    const [one = {}, other = {}] = [without[path], withUs[path]];
    if (without[path] === undefined) changed[path] = ['own'];
    else {
      const differing = Object.keys({ ...one, ...other }).filter((key) => !isSame(one[key], other[key]));
      if (differing.length > 0) changed[path] = differing;
    }
  }
  return changed;
}

function differencesOf(probe: string, baseline: readonly Run[], { seen }: Run): Difference[] {
  const { frames: _, ...withUs } = seen[probe]!;
  return Object.entries(withUs).flatMap(([aspect, now]) => {
    const before = baseline.flatMap((run) => (run.seen[probe] ? [run.seen[probe][aspect as keyof Seen]] : []));
    const same = before.some((one) => isSame(one, now)) || isWithinVariation(aspect, before, now);
    if (same) return [];
    const [one, other] = aspect === 'story' && varies(before) ? [lanes(before[0]), lanes(now)] : [before[0], now];
    return [{ probe, aspect, ...firstDifference(one, other) }];
  });
}

/**
 * Where two runs without us differ from each other, what we are held to is what they have in common: the order of the
 * events of each emitter, and numbers no smaller or larger than theirs.
 */
function isWithinVariation(aspect: string, before: readonly unknown[], now: unknown): boolean {
  if (!varies(before)) return false;
  if (aspect === 'story') return before.some((story) => isSame(lanes(story), lanes(now)));
  if (aspect !== 'asynchronous') return false;
  const counts = (one: unknown, type: string) => (one as Record<string, number>)[type] ?? 0;
  return Object.keys({ ...(now as object), ...(before[0] as object) }).every((type) => {
    const seen = before.map((one) => counts(one, type));
    const count = counts(now, type);
    return count >= Math.min(...seen) && count <= Math.max(...seen);
  });
}

function varies(before: readonly unknown[]): boolean {
  return before.some((one) => !isSame(one, before[0]));
}

function lanes(story: unknown): Record<string, unknown[]> {
  const byTeller: Record<string, unknown[]> = {};
  for (const entry of story as unknown[][]) (byTeller[String(entry[0])] ??= []).push(entry);
  return byTeller;
}

function isSame(one: unknown, other: unknown): boolean {
  try {
    assert.deepEqual(one, other);
    return true;
  } catch {
    return false;
  }
}

/** The smallest part that differs, with the one before it for orientation. */
function firstDifference(without: unknown, withUs: unknown): { without: unknown; with: unknown } {
  if (!Array.isArray(without) || !Array.isArray(withUs)) {
    const differing = Object.keys({ ...(without as object), ...(withUs as object) }).filter(
      (key) => !isSame(without?.[key as never], withUs?.[key as never]),
    );
    const only = (whole: unknown) => Object.fromEntries(differing.map((key) => [key, whole?.[key as never]]));
    return { without: only(without), with: only(withUs) };
  }
  const at = without.findIndex((entry, index) => !isSame(entry, withUs[index]));
  const index = at === -1 ? without.length : at;
  const [one, other] = [without[index] as unknown, withUs[index] as unknown];
  if (Array.isArray(one) && Array.isArray(other) && one[0] === other[0]) return firstDifference(one, other);
  if (typeof one === 'string' && typeof other === 'string') return firstPart(one, other);
  const around = (entries: readonly unknown[]) => entries.slice(Math.max(index - 1, 0), index + 2);
  return { without: around(without), with: around(withUs as unknown[]) };
}

function firstPart(one: string, other: string): { without: string; with: string } {
  const at = Array.from(one).findIndex((character, index) => character !== other[index]);
  const around = (text: string) => text.slice(Math.max(at - 80, 0), at + 160);
  return { without: around(one), with: around(other) };
}

/** Runs a subject's probes in a process of their own. */
async function run(subject: Subject, nodeArgs: readonly string[], some?: readonly string[]): Promise<Run> {
  const { recorder, known = [] } = subject;
  // What differs once in a process must not differ in another probe.
  const only = some && [...known, ...some];
  const child = spawnNode({ ...programOf(subject, only), nodeArgs, ipc: true });
  let stderr = '';
  child.stdout!.resume();
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const wires: Record<string, readonly string[]> = {};
  let result: Run | undefined;
  let current = '';
  child.on('message', (message: { begin?: string; end?: string } & Run) => {
    const answer = () => child.send('go on', () => {});
    if (message.begin !== undefined) {
      current = message.begin;
      // What a probe before has left is not this one's.
      void recorder.take().then(answer);
    } else if (message.end !== undefined) {
      const { end } = message;
      void recorder.take().then((wire) => {
        wires[end] = wire;
        answer();
      });
    } else result = message;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (result === undefined)
    throw new Error(`${subject.family} ended (${String(code)}) within "${current}":\n${stderr}`);
  for (const [probe, wire] of Object.entries(wires)) result.seen[probe]!.wire = wire;
  return result;
}

function programOf({ family, packages, kind, node, addresses, recorder }: Subject, only?: unknown) {
  const { port, tlsPort, socketPath } = recorder;
  return {
    ...(node !== undefined && { node }),
    program: join(PROBES, `main.${kind}`),
    programArgs: [family, ...packages],
    env: {
      TRANSPARENCY: JSON.stringify({ addresses: { port, tlsPort, socketPath, ...addresses }, only }),
      // Failures are part of what is tried, and the circuits are to stay closed.
      OTEL_BREAKER_CONFIG: join(PROBES, 'otel-breaker.yaml'),
      OTEL_BREAKER_METRICS: 'off',
      OTEL_LOG_LEVEL: 'none',
    },
  };
}
