import type { HrTime } from '@opentelemetry/api';
import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { parseQuorum } from '../breaker/options.js';
import { presets } from '../breaker/presets.js';
import { formatValue } from '../rules/explain.js';
import type { ExplainedOption, Explanation } from '../rules/rule-set.js';
import type { SdkSpan } from '../telemetry/events/sdk-span.js';
import { startOf, type RingTrace } from './history/trace-ring.js';
import type { TransitionRecord, Trouble } from './history/transition-log.js';
import type {
  Action,
  BreakerDetail,
  BreakerView,
  FleetBreakerView,
  LatencyView,
  OptionView,
  SpanView,
  TraceView,
  TransitionView,
} from './api.js';
import { breakerEvent } from './format.js';

/** What is known of a breaker besides what it knows itself. */
export interface Known {
  readonly trouble: Trouble | undefined;
  readonly latency: LatencyView | null;
  readonly fleet?: FleetBreakerView | undefined;
}

// Four digits of a share: more would be told again with every call.
const share = (exact: number) => Math.round(exact * 1e4) / 1e4;

export function viewBreaker(breaker: CircuitBreaker, { trouble, latency, fleet }: Known): BreakerView {
  const { lastStateChange, openUntil, failureRate, slowCallRate, ...stats } = breaker.stats();
  const { unenforcedOpen, unenforcedHalfOpen } = breaker.tally;
  const { mode, successThreshold } = breaker.config;
  const admitted = breaker.admittedShare;
  const isTroubled = stats.state !== 'closed' && trouble !== undefined;
  return {
    ...stats,
    worker: null,
    mode,
    labels: breaker.labels,
    unenforced: unenforcedOpen + unenforcedHalfOpen,
    failureRate: share(failureRate),
    slowCallRate: share(slowCallRate),
    trouble: isTroubled ? { ...trouble, since: trouble.since.toISOString() } : null,
    probes:
      stats.state === 'half_open' && admitted === undefined
        ? { succeeded: breaker.goodProbes, needed: parseQuorum(successThreshold)!.needed }
        : null,
    ...(admitted !== undefined && { admitted: share(admitted) }),
    latency,
    lastStateChange: lastStateChange.toISOString(),
    openUntil: openUntil === null ? null : openUntil.toISOString(),
    ...(fleet !== undefined && { fleet }),
  };
}

export function viewBreakerInFull(
  breaker: CircuitBreaker,
  known: Known,
  transitions: readonly TransitionRecord[],
  explanation: Explanation | undefined,
): BreakerDetail {
  return {
    ...viewBreaker(breaker, known),
    rule: explanation?.rule ?? null,
    options: viewOptions(breaker, explanation),
    transitions: transitions.map(viewTransition),
  };
}

function viewOptions({ config }: CircuitBreaker, explanation: Explanation | undefined): OptionView[] {
  const preset: Readonly<Record<string, unknown>> = presets[config.preset];
  const explained = new Map<string, ExplainedOption>(explanation?.options.map((option) => [option.key, option]));
  return Object.entries(config).map(([key, value]: [string, unknown]) => {
    const shown = shownOf(key, value);
    const known = explained.get(key);
    // A mode that was set from here is not the one that the rules gave.
    if (known !== undefined && isSame(known.value, value)) return { key, value: shown, source: known.source };
    return { key, value: shown, source: isSame(preset[key], value) ? `preset ${config.preset}` : null };
  });
}

/** An option as the page has it: as it is, where that can be told in a word. */
function shownOf(key: string, value: unknown): unknown {
  const isPlain = value === null || typeof value !== 'object' || Array.isArray(value);
  return typeof value === 'function' || !isPlain ? formatValue(key, value) : value;
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

export function viewTransition({
  at,
  action,
  errorType,
  retryAfterMs,
  span,
  ...record
}: TransitionRecord): TransitionView {
  return {
    ...record,
    worker: null,
    at: at.toISOString(),
    action: (action as Action | undefined) ?? null,
    errorType: errorType ?? null,
    retryAfterMs: retryAfterMs ?? null,
    traceId: span?.traceId ?? null,
    spanId: span?.spanId ?? null,
  };
}

// In the order of OpenTelemetry's SpanKind.
const KINDS = ['internal', 'server', 'client', 'producer', 'consumer'] as const;
// A page gets dozens of traces, and a trace may have hundreds of spans with statements and bodies.
const MAX_TRACE_CHARACTERS = 64 * 1024;

export function viewTrace(trace: RingTrace): TraceView {
  const start = startOf(trace);
  const spans = trace.spans
    .map((span) => viewSpan(span, start))
    .sort((a, b) => a.startMs - b.startMs || b.durationMs - a.durationMs);
  const kept = withinLimit(spans);
  return {
    traceId: trace.traceId,
    worker: null,
    name: spans[0]!.name,
    start: new Date(start[0] * 1_000 + start[1] / 1e6).toISOString(),
    durationMs: Math.max(...spans.map(({ startMs, durationMs }) => startMs + durationMs)),
    spans: kept,
    droppedSpans: trace.droppedSpans + spans.length - kept.length,
  };
}

/** The first span, those with a breaker's event, and of the others as many as there is room for. */
function withinLimit(spans: readonly SpanView[]): readonly SpanView[] {
  const sizes = spans.map((span) => JSON.stringify(span).length);
  let room = MAX_TRACE_CHARACTERS - sizes.reduce((sum, size) => sum + size, 0);
  if (room >= 0) return spans;
  const isNeeded = (span: SpanView, at: number) => at === 0 || span.events.some((event) => breakerEvent(event));
  room = MAX_TRACE_CHARACTERS;
  spans.forEach((span, at) => isNeeded(span, at) && (room -= sizes[at]!));
  return spans.filter((span, at) => isNeeded(span, at) || (room -= sizes[at]!) >= 0);
}

function viewSpan(span: SdkSpan, start: HrTime): SpanView {
  return {
    spanId: span.spanContext().spanId,
    parentSpanId: span.parentSpanContext?.spanId ?? null,
    name: span.name,
    kind: KINDS[span.kind],
    startMs: between(start, span.startTime),
    durationMs: between(span.startTime, span.endTime),
    // SpanStatusCode.ERROR
    failed: Number(span.status.code) === 2,
    attributes: span.attributes,
    events: span.events.map(({ name, time, attributes = {} }) => ({ name, atMs: between(start, time), attributes })),
  };
}

/** Milliseconds, to the microsecond. */
function between(from: HrTime, to: HrTime): number {
  return Math.round(((to[0] - from[0]) * 1e3 + (to[1] - from[1]) / 1e6) * 1e3) / 1e3;
}
