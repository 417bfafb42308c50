import type { BreakerView, Snapshot, Tick, TraceView, TransitionView } from './api.js';

/** Seconds that a sparkline and the chart look back. */
export const HISTORY = 120;
const MAX_TRANSITIONS = 300;
const MAX_TRACES = 100;

/** Calls of one second. */
export interface Rates {
  readonly succeeded: number;
  readonly failed: number;
  readonly rejected: number;
}

/** A breaker, and what the page has seen of it. */
export interface Row {
  readonly view: BreakerView;
  /** The oldest first, one for each second; at most `HISTORY`. */
  readonly rates: readonly Rates[];
}

export interface State {
  readonly connected: boolean;
  /** Before the first snapshot there is nothing to show, which is not the same as no breakers. */
  readonly loaded: boolean;
  readonly service: string;
  readonly version: string;
  readonly admin: boolean;
  /** Why no call is rejected just now although circuits are open. */
  readonly panic: string | null;
  readonly tracing: boolean;
  /** The server's clock, in milliseconds since 1970: "in 12 s" must not depend on how this machine's clock is set. */
  readonly now: number;
  readonly rows: ReadonlyMap<string, Row>;
  /** The newest first. */
  readonly transitions: readonly TransitionView[];
  /** The newest first. */
  readonly traces: readonly TraceView[];
}

export const EMPTY: State = {
  connected: false,
  loaded: false,
  service: '',
  version: '',
  admin: false,
  panic: null,
  tracing: false,
  now: 0,
  rows: new Map(),
  transitions: [],
  traces: [],
};

export type Message =
  | { readonly kind: 'snapshot'; readonly data: Snapshot }
  | { readonly kind: 'tick'; readonly data: Tick }
  | { readonly kind: 'transition'; readonly data: TransitionView }
  | { readonly kind: 'traces'; readonly data: readonly TraceView[] }
  | { readonly kind: 'lost' };

const IDLE: Rates = { succeeded: 0, failed: 0, rejected: 0 };

export function reduce(state: State, message: Message): State {
  switch (message.kind) {
    case 'snapshot': {
      const { now, breakers, ...rest } = message.data;
      const rows = new Map(
        breakers.map((view) => [view.name, { view, rates: state.rows.get(view.name)?.rates ?? [] }]),
      );
      return { connected: true, loaded: true, now: Date.parse(now), rows, ...rest };
    }
    case 'tick': {
      const { panic, changed, removed } = message.data;
      const now = Date.parse(message.data.now);
      const seconds = Math.max((now - state.now) / 1_000, 0.001);
      const changes = new Map(changed.map((view) => [view.name, view]));
      const rows = new Map<string, Row>();
      for (const [name, row] of state.rows) {
        if (!removed.includes(name)) rows.set(name, advance(row, changes.get(name), seconds));
      }
      for (const view of changed) if (!rows.has(view.name)) rows.set(view.name, { view, rates: [] });
      return { ...state, connected: true, now, panic, rows };
    }
    case 'transition': {
      const { data } = message;
      const row = state.rows.get(data.name);
      const rows = new Map(state.rows);
      // The rest of its numbers come with the next tick; its state must not wait for it.
      if (row !== undefined) rows.set(data.name, { ...row, view: { ...row.view, state: data.to } });
      return { ...state, rows, transitions: [data, ...state.transitions].slice(0, MAX_TRANSITIONS) };
    }
    case 'traces': {
      const fresh = new Set(message.data.map(({ traceId }) => traceId));
      const traces = [...message.data, ...state.traces.filter(({ traceId }) => !fresh.has(traceId))];
      traces.sort((a, b) => Date.parse(b.start) - Date.parse(a.start));
      return { ...state, traces: traces.slice(0, MAX_TRACES) };
    }
    case 'lost':
      return { ...state, connected: false };
  }
}

/** One second further. A row in which nothing happens stays the same object, so that it is not drawn again. */
function advance(row: Row, view: BreakerView | undefined, seconds: number): Row {
  const rates = view === undefined ? IDLE : between(row.view, view, seconds);
  const last = row.rates.at(-1);
  const idle = isIdle(rates);
  if (view === undefined && idle && (last === undefined || row.rates.every(isIdle))) {
    return row.view.state === 'open' ? { ...row } : row;
  }
  return { view: view ?? row.view, rates: [...row.rates.slice(1 - HISTORY), rates] };
}

function between(before: BreakerView, after: BreakerView, seconds: number): Rates {
  // Never below zero: a breaker that was removed and made again counts from the start.
  const rate = (key: 'success' | 'failure' | 'rejected') => Math.max(after.calls[key] - before.calls[key], 0) / seconds;
  return { succeeded: rate('success'), failed: rate('failure'), rejected: rate('rejected') };
}

function isIdle({ succeeded, failed, rejected }: Rates): boolean {
  return succeeded + failed + rejected === 0;
}

export function callsPerSecond(row: Row): number {
  const { succeeded, failed, rejected } = row.rates.at(-1) ?? IDLE;
  return succeeded + failed + rejected;
}

const SEVERITY = { open: 0, half_open: 1, closed: 2 } as const;

/** Open circuits first; among equals by name, so that nothing moves while one reads. */
export function sortRows(rows: Iterable<Row>): Row[] {
  return [...rows].sort(
    ({ view: a }, { view: b }) =>
      SEVERITY[a.state] - SEVERITY[b.state] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
}
