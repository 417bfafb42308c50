/**
 * What the console says, as JSON: the one description that its server, its page and `otel-breaker top` share.
 * It knows nothing of either end, so that the page takes nothing of the server with it.
 */
import type { Mode } from '../breaker/options.js';
import type { CircuitState } from '../breaker/state.js';

export interface BreakerView {
  readonly name: string;
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

export interface TransitionView {
  /** Grows by one with each transition of the process. */
  readonly sequence: number;
  readonly name: string;
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly at: string;
  readonly reason: string;
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
  /** Name of its first span. */
  readonly name: string;
  readonly start: string;
  readonly durationMs: number;
  /** In the order of their start. */
  readonly spans: readonly SpanView[];
  /** Spans that were too many to keep. */
  readonly droppedSpans: number;
}

/** First event of `/events`, and again after each reconnection: all there is. */
export interface Snapshot {
  readonly now: string;
  readonly service: string;
  readonly version: string;
  /** Whether circuits can be opened and reset from here, with a token. */
  readonly admin: boolean;
  /** Why no call is rejected just now although circuits are open; `null` where they reject. */
  readonly panic: string | null;
  /** Whether anybody makes spans in this process. */
  readonly tracing: boolean;
  readonly breakers: readonly BreakerView[];
  /** The newest first. */
  readonly transitions: readonly TransitionView[];
  /** The newest first. */
  readonly traces: readonly TraceView[];
}

/** Once a second: what is different since the last time. */
export interface Tick {
  readonly now: string;
  readonly panic: string | null;
  readonly changed: readonly BreakerView[];
  readonly removed: readonly string[];
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

export const ACTIONS = ['open', 'reset', 'observe', 'enforce'] as const;
export type Action = (typeof ACTIONS)[number];
