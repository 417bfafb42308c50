// What the console answers as JSON: the shapes that the server and the page share.
/**
 * What the console says, as JSON: the one description that its server, its page and `otel-breaker top` share.
 * It knows nothing of either end, so that the page takes nothing of the server with it.
 */
import type { Mode } from '../breaker/mode.js';
import type { CircuitState } from '../breaker/state.js';

export interface BreakerView {
  readonly name: string;
  /** The cluster worker or thread that it is in; `null` in the process that has the port. */
  readonly worker: string | null;
  readonly state: CircuitState;
  readonly mode: Mode;
  /** What its metrics are labelled with besides the name. */
  readonly labels: Readonly<Record<string, string | number>>;
  readonly calls: {
    readonly success: number;
    readonly failure: number;
    readonly ignored: number;
    readonly rejected: number;
    readonly inFlight: number;
  };
  /** Calls that mode `observe` let through although the circuit would have rejected them. */
  readonly unenforced: number;
  /** Since when the circuit has not been closed, and why; `null` while it is closed. */
  readonly trouble: TroubleView | null;
  /** How many probes have succeeded, and how many must; `null` unless the circuit is half-open and tries its target by probes. */
  readonly probes: { readonly succeeded: number; readonly needed: number } | null;
  /** The share of calls that are let through, where it grows since the probes have succeeded: `recoveryDuration`. */
  readonly admitted?: number;
  /** How long its calls of the last minutes took, in milliseconds; `null` where there were none. */
  readonly latency: LatencyView | null;
  /** Share of failures within the window, 0 to 1. */
  readonly failureRate: number;
  /** Share of slow calls within the window, 0 to 1. */
  readonly slowCallRate: number;
  readonly consecutiveFailures: number;
  readonly consecutiveSuccesses: number;
  readonly transitionCount: number;
  /** ISO 8601, as every time here. */
  readonly lastStateChange: string;
  /** When the next probe may go through; `null` unless the circuit is open, and where it was opened by hand. */
  readonly openUntil: string | null;
  /** What the fleet says of it; missing where none shares it. */
  readonly fleet?: FleetBreakerView;
}

/** How a breaker stands to the fleet that shares it. */
export interface FleetBreakerView {
  readonly mode: Mode;
  /** Whether the fleet is reached; where it is not, the circuit decides by itself. */
  readonly connected: boolean;
  readonly replicas: number;
  readonly hosts: number;
  readonly verdict: 'closed' | 'open';
  /** Hosts that saw the target fail, and that reach it. */
  readonly failing: number;
  readonly against: number;
  /** What this process does about the verdict. */
  readonly stance: 'none' | 'accuses' | 'obeys' | 'objects';
  /** The replica that probes; `null` where none is known to. */
  readonly prober: string | null;
}

export interface TroubleView {
  /** When it left the closed state. It may have been half-open and open again since. */
  readonly since: string;
  /** Why it opened then. */
  readonly reason: string;
  /** Calls that had been rejected before, or would have been: those since are the difference. */
  readonly refusedBefore: number;
}

/** Read off the histogram of durations: as exact as its buckets are narrow. */
export interface LatencyView {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface OptionView {
  readonly key: string;
  readonly value: unknown;
  /** Where the value came from; `null` where that is not known. */
  readonly source: string | null;
}

export interface BreakerDetail extends BreakerView {
  /** The rule that made it: `rules[1] of otel-breaker.yaml`; `null` where none did or none is known. */
  readonly rule: string | null;
  readonly options: readonly OptionView[];
  /** The newest first. */
  readonly transitions: readonly TransitionView[];
}

export const ACTIONS = ['open', 'reset', 'observe', 'enforce'] as const;
export type Action = (typeof ACTIONS)[number];

/** A change of state, or something that was done to a breaker through the console and left its state as it was. */
export interface TransitionView {
  /** Grows by one with each that the thread, or in events the console, has heard of. */
  readonly sequence: number;
  readonly name: string;
  readonly worker: string | null;
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly at: string;
  readonly reason: string;
  /** What was done through the console; `null` where the breaker did it by itself, or code did. */
  readonly action: Action | null;
  /** Code or class of the failure that caused it, where one did. */
  readonly errorType: string | null;
  readonly failureRate: number;
  readonly retryAfterMs: number | null;
  /** The span that carries the event, where one was recorded. */
  readonly traceId: string | null;
  readonly spanId: string | null;
}

export type AttributeValues = Readonly<Record<string, unknown>>;

export interface SpanEventView {
  readonly name: string;
  /** Milliseconds after the trace's start. */
  readonly atMs: number;
  readonly attributes: AttributeValues;
}

export interface SpanView {
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  /** Milliseconds after the trace's start. */
  readonly startMs: number;
  readonly durationMs: number;
  readonly failed: boolean;
  readonly attributes: AttributeValues;
  readonly events: readonly SpanEventView[];
}

export interface TraceView {
  readonly traceId: string;
  /** Where its spans were made, as with breakers. */
  readonly worker: string | null;
  /** Name of its first span. */
  readonly name: string;
  readonly start: string;
  readonly durationMs: number;
  /** In the order of their start. */
  readonly spans: readonly SpanView[];
  /** Spans that were too many to keep. */
  readonly droppedSpans: number;
}

/** Calls are counted for so long at a time, in milliseconds since 1970 divided by it. */
export const BUCKET_MS = 5_000;
/** So many of these are remembered: five minutes. */
export const BUCKETS = 60;

/** How many changes of state are remembered. Probes that fail again and again must not push out why a circuit opened. */
export const MAX_TURNING_POINTS = 200;
export const MAX_PROBES = 100;

/** Of one breaker what is different; as it is at first. Of `calls`, too, only what is different. */
export type BreakerPatch = Partial<Omit<BreakerView, 'calls'>> & {
  readonly calls?: Partial<BreakerView['calls']>;
  /** Where the breaker is new: succeeded, failed and rejected calls of the last buckets, three numbers each, the oldest first. */
  readonly past?: readonly number[];
};

/** The number that events know a breaker by, and what is different. */
export type RowPatch = readonly [id: number, patch: BreakerPatch];

/** What events tell at first, and again after each reconnection: all there is. */
export interface Snapshot extends Tick {
  readonly service: string;
  readonly version: string;
  /** Whether circuits can be opened and reset from here, with a token. */
  readonly admin: boolean;
}

/** Once a second, and at once when a circuit has changed: what is different since the last time. */
export interface Tick {
  readonly now: string;
  /** Why no call is rejected just now although circuits are open; `null` where they reject. */
  readonly panic: string | null;
  /** Why the rules file as it is cannot be taken; `null` where it is in force. */
  readonly rulesProblem: string | null;
  /** Whether anybody makes spans in this service. */
  readonly tracing: boolean;
  /** Breakers beyond those that are shown: too many to send. */
  readonly hidden: number;
  /** Whether there are workers and threads whose breakers are still to be told of: in a moment, when they have answered. */
  readonly incomplete: boolean;
  readonly changed: readonly RowPatch[];
  readonly removed: readonly number[];
  /** The newest first. */
  readonly transitions: readonly TransitionView[];
  /** The newest first. Those in which a circuit changed its state are always among them. */
  readonly traces: readonly TraceView[];
}

/** What `/healthz` tells everybody: no names. */
export interface Health {
  readonly healthy: boolean;
  /** Of this process, its threads and its cluster workers. */
  readonly total: number;
  readonly closed: number;
  readonly open: number;
  readonly halfOpen: number;
  /** How many of the breakers that were asked for do not exist (yet). */
  readonly unknown: number;
}

/** What it tells those who may see the console. */
export interface HealthInFull extends Omit<Health, 'unknown'> {
  /** What it was judged by. */
  readonly rule: string;
  /** The breakers that keep calls from targets that are known to answer. */
  readonly unhealthy: readonly { readonly name: string; readonly worker?: string }[];
  /** Those of the breakers asked for that do not exist (yet): one exists from its first call on. */
  readonly unknown: readonly string[];
  /** Why no call is rejected just now although circuits are open; `null` where they reject. */
  readonly panic: string | null;
  /** Why the rules file as it is cannot be taken; `null` where it is in force. */
  readonly rulesProblem: string | null;
}
