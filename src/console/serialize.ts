import type { HrTime } from '@opentelemetry/api';
import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { presets } from '../breaker/presets.js';
import type { ExplainedOption, Explanation } from '../rules/rule-set.js';
import type { SdkSpan } from '../telemetry/events/sdk-span.js';
import { startOf, type RingTrace } from './history/trace-ring.js';
import type { TransitionRecord } from './history/transition-log.js';
import type { BreakerDetail, BreakerView, OptionView, SpanView, TraceView, TransitionView } from './api.js';

export function viewBreaker(breaker: CircuitBreaker): BreakerView {
  const { lastStateChange, openUntil, ...stats } = breaker.stats();
  const { unenforcedOpen, unenforcedHalfOpen } = breaker.tally;
  return {
    ...stats,
    mode: breaker.config.mode,
    labels: breaker.labels,
    unenforced: unenforcedOpen + unenforcedHalfOpen,
    lastStateChange: lastStateChange.toISOString(),
    openUntil: openUntil === null ? null : openUntil.toISOString(),
  };
}

export function viewBreakerInFull(
  breaker: CircuitBreaker,
  transitions: readonly TransitionRecord[],
  explanation: Explanation | undefined,
): BreakerDetail {
  return {
    ...viewBreaker(breaker),
    rule: explanation?.rule ?? null,
    options: viewOptions(breaker, explanation),
    transitions: transitions.map(viewTransition),
  };
}

function viewOptions({ config }: CircuitBreaker, explanation: Explanation | undefined): OptionView[] {
  const preset: Readonly<Record<string, unknown>> = presets[config.preset];
  const explained = new Map<string, ExplainedOption>(explanation?.options.map((option) => [option.key, option]));
  return Object.entries(config).map(([key, value]: [string, unknown]) => {
    const shown = typeof value === 'function' ? 'a function' : value;
    const known = explained.get(key);
    // A mode that was set from here is not the one that the rules gave.
    if (known !== undefined && isSame(known.value, value)) return { key, value: shown, source: known.source };
    return { key, value: shown, source: isSame(preset[key], value) ? `preset ${config.preset}` : null };
  });
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

export function viewTransition({ at, errorType, retryAfterMs, span, ...record }: TransitionRecord): TransitionView {
  return {
    ...record,
    at: at.toISOString(),
    errorType: errorType ?? null,
    retryAfterMs: retryAfterMs ?? null,
    traceId: span?.traceId ?? null,
    spanId: span?.spanId ?? null,
  };
}

// In the order of OpenTelemetry's SpanKind.
const KINDS = ['internal', 'server', 'client', 'producer', 'consumer'] as const;

export function viewTrace(trace: RingTrace): TraceView {
  const start = startOf(trace);
  const spans = trace.spans
    .map((span) => viewSpan(span, start))
    .sort((a, b) => a.startMs - b.startMs || b.durationMs - a.durationMs);
  return {
    traceId: trace.traceId,
    name: spans[0]!.name,
    start: new Date(start[0] * 1_000 + start[1] / 1e6).toISOString(),
    durationMs: Math.max(...spans.map(({ startMs, durationMs }) => startMs + durationMs)),
    spans,
    droppedSpans: trace.droppedSpans,
  };
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
