import { BUCKET_MS, BUCKETS, MAX_PROBES, MAX_TURNING_POINTS } from './api.js';
import type { BreakerPatch, BreakerView, Snapshot, Tick, TraceView, TransitionView } from './api.js';
import { isTurningPoint } from '../telemetry/names.js';
import { breakerEvents } from './format.js';

// As many of each kind as the server remembers: rejections come by the thousands, and must not push out the one trace that
// explains them.
const MAX_TRACES_OF_A_KIND = 50;

/** Calls of five seconds. */
export interface Bucket {
  readonly succeeded: number;
  readonly failed: number;
  readonly rejected: number;
}

/** A breaker, and what is known of its last minutes. */
export interface Row {
  readonly id: number;
  readonly view: BreakerView;
  /** The oldest first; at most `BUCKETS`. */
  readonly past: readonly Bucket[];
  /** When the last one of them was: milliseconds since 1970, divided by `BUCKET_MS`. */
  readonly bucket: number;
}

export interface State {
  readonly connected: boolean;
  /** Before the first snapshot there is nothing to show, which is not the same as no breakers. */
  readonly loaded: boolean;
  /** Whether breakers of workers are still to come. */
  readonly incomplete: boolean;
  readonly service: string;
  readonly version: string;
  readonly admin: boolean;
  /** Why no call is rejected just now although circuits are open. */
  readonly panic: string | null;
  /** Why the rules file as it is cannot be taken. */
  readonly rulesProblem: string | null;
  readonly tracing: boolean;
  /** Breakers beyond those that are shown. */
  readonly hidden: number;
  /** The server's clock, in milliseconds since 1970: "in 12 s" must not depend on how this machine's clock is set. */
  readonly now: number;
  readonly rows: ReadonlyMap<number, Row>;
  /** The newest first. */
  readonly transitions: readonly TransitionView[];
  /** The newest first. */
  readonly traces: readonly TraceView[];
}

export const EMPTY: State = {
  connected: false,
  loaded: false,
  incomplete: false,
  service: '',
  version: '',
  admin: false,
  panic: null,
  rulesProblem: null,
  tracing: false,
  hidden: 0,
  now: 0,
  rows: new Map(),
  transitions: [],
  traces: [],
};

export type Message =
  | { readonly kind: 'snapshot'; readonly data: Snapshot }
  | { readonly kind: 'tick'; readonly data: Tick }
  | { readonly kind: 'lost' };

export function reduce(state: State, message: Message): State {
  switch (message.kind) {
    case 'snapshot': {
      const { service, version, admin } = message.data;
      return withTick({ ...EMPTY, service, version, admin }, message.data);
    }
    case 'tick':
      return withTick(state, message.data);
    case 'lost':
      return { ...state, connected: false };
  }
}

function withTick(state: State, { now: at, panic, rulesProblem, tracing, hidden, incomplete, ...tick }: Tick): State {
  const now = Date.parse(at);
  return {
    ...state,
    connected: true,
    loaded: true,
    now,
    panic,
    rulesProblem,
    tracing,
    hidden,
    incomplete,
    rows: withRows(state.rows, tick, now),
    transitions: tick.transitions.length === 0 ? state.transitions : withTransitions(state.transitions, tick),
    traces: tick.traces.length === 0 ? state.traces : withTraces(state.traces, tick),
  };
}

function withRows(
  rows: State['rows'],
  { changed, removed }: Pick<Tick, 'changed' | 'removed'>,
  now: number,
): State['rows'] {
  if (changed.length === 0 && removed.length === 0) return rows;
  const bucket = Math.floor(now / BUCKET_MS);
  const next = new Map(rows);
  for (const id of removed) next.delete(id);
  for (const [id, patch] of changed) {
    const row = next.get(id);
    if (patch.name !== undefined) next.set(id, newRow(id, patch, bucket));
    else if (row !== undefined) next.set(id, patched(row, patch, bucket));
  }
  return next;
}

function newRow(id: number, { past = [], ...view }: BreakerPatch, bucket: number): Row {
  const buckets: Bucket[] = [];
  for (let at = 0; at < past.length; at += 3) {
    buckets.push({ succeeded: past[at]!, failed: past[at + 1]!, rejected: past[at + 2]! });
  }
  return { id, view: view as BreakerView, past: buckets, bucket };
}

function patched(row: Row, { calls, past: _, ...patch }: BreakerPatch, bucket: number): Row {
  if (calls === undefined) return { ...row, view: { ...row.view, ...patch } };
  const before = row.view.calls;
  const after = { ...before, ...calls };
  // Never below zero: a breaker that was removed and made again counts from the start.
  const more = (key: 'success' | 'failure' | 'rejected') => Math.max(after[key] - before[key], 0);
  const past = [...pastUntil(row, bucket)];
  const { succeeded, failed, rejected } = past.pop() ?? IDLE;
  past.push({
    succeeded: succeeded + more('success'),
    failed: failed + more('failure'),
    rejected: rejected + more('rejected'),
  });
  return { ...row, view: { ...row.view, ...patch, calls: after }, past, bucket };
}

const IDLE: Bucket = { succeeded: 0, failed: 0, rejected: 0 };

/** The buckets up to that one, which is the last; empty where there were no calls. */
function pastUntil({ past, bucket }: Row, until: number): readonly Bucket[] {
  if (past.length === 0 || until <= bucket) return past;
  const idle = Math.min(until - bucket, BUCKETS);
  return [...past, ...new Array<Bucket>(idle).fill(IDLE)].slice(-BUCKETS);
}

/** The last minutes as they are told: three numbers of each bucket. */
export function pastOf({ past }: Row): number[] {
  return past.flatMap(({ succeeded, failed, rejected }) => [succeeded, failed, rejected]);
}

/** The buckets of the last minutes, up to now; fewer where it was not called for so long. */
export function recentCalls(row: Row, now: number): readonly Bucket[] {
  return pastUntil(row, Math.floor(now / BUCKET_MS));
}

export function sum({ succeeded, failed, rejected }: Bucket): number {
  return succeeded + failed + rejected;
}

/** Over the last five to ten seconds. */
export function callsPerSecond(row: Row, now: number): number {
  const calls = recentCalls(row, now)
    .slice(-2)
    .reduce((total, bucket) => total + sum(bucket), 0);
  return (calls * 1_000) / (BUCKET_MS + (now % BUCKET_MS));
}

/** Share of the last minute's callers that got no answer: their calls failed or were rejected; 0 where nobody called. */
export function notServed(row: Row, now: number): number {
  const minute = recentCalls(row, now).slice(-60_000 / BUCKET_MS);
  const all = minute.reduce((total, bucket) => total + sum(bucket), 0);
  return all === 0 ? 0 : minute.reduce((total, { failed, rejected }) => total + failed + rejected, 0) / all;
}

/** How many calls were rejected, or would have been, since the circuit left the closed state. */
export function refusedSince({ view: { trouble, calls, unenforced } }: Row): number {
  return trouble === null ? 0 : Math.max(calls.rejected + unenforced - trouble.refusedBefore, 0);
}

function withTransitions(known: State['transitions'], { transitions }: Pick<Tick, 'transitions'>) {
  // Those of other workers come a moment later.
  const all = [...transitions, ...known];
  all.sort((a, b) => Date.parse(b.at) - Date.parse(a.at) || b.sequence - a.sequence);
  let turningPoints = 0;
  let probes = 0;
  return all.filter(({ from, to, action }) =>
    isTurningPoint(from, to) || action !== null ? ++turningPoints <= MAX_TURNING_POINTS : ++probes <= MAX_PROBES,
  );
}

function withTraces(known: State['traces'], { traces: fresh }: Pick<Tick, 'traces'>): State['traces'] {
  const ids = new Set(fresh.map(({ traceId }) => traceId));
  const all = [...fresh, ...known.filter(({ traceId }) => !ids.has(traceId))];
  all.sort((a, b) => Date.parse(b.start) - Date.parse(a.start));
  const kept = { turningPoint: 0, probe: 0, rejection: 0 };
  return all.filter((trace) => {
    const events = breakerEvents(trace);
    const hasChange = events.some(({ kind }) => kind !== 'rejected');
    const kind = events.some((event) => event.isTurningPoint) ? 'turningPoint' : hasChange ? 'probe' : 'rejection';
    return ++kept[kind] <= MAX_TRACES_OF_A_KIND;
  });
}
