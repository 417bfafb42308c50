import type { HrTime, SpanContext } from '@opentelemetry/api';
import type { SdkSpan } from '../../telemetry/events/sdk-span.js';
import { EVENT, isBreakerEvent } from '../../telemetry/names.js';

/** The ended spans of one trace of this process. */
export interface RingTrace {
  readonly traceId: string;
  /** In the order in which they ended. */
  readonly spans: readonly SdkSpan[];
  /** Spans that were too many to keep. */
  readonly droppedSpans: number;
}

/** Remembers the latest traces in which breakers did something. */
export interface TraceRing {
  onStart(span: { spanContext(): SpanContext }): void;
  onEnd(span: SdkSpan): void;
  /** Those that carry a breaker's event, the newest first. */
  traces(): readonly RingTrace[];
  get(traceId: string): RingTrace | undefined;
  /** Calls the listener when a trace that carries a breaker's event has got a span. @returns a function that ends it */
  onChange(listener: (traceId: string) => void): () => void;
}

export interface TraceRingOptions {
  /** Traces in which a circuit changed its state; default 50. */
  readonly maxTransitionTraces?: number;
  /** Traces in which a call was rejected and nothing else happened; default 50. */
  readonly maxRejectionTraces?: number;
  /** Spans of one trace; default 200. */
  readonly maxSpans?: number;
  /** Traces under way, whose spans are kept until it is known whether a breaker had a part in them; default 500. */
  readonly maxUnderWay?: number;
}

type Interest = 'none' | 'rejection' | 'transition';

interface Entry extends RingTrace {
  spans: SdkSpan[];
  droppedSpans: number;
  /** Spans that have started and not ended. */
  running: number;
  interest: Interest;
  /** Grows from trace to trace: clocks are too coarse to tell which of two began first. */
  readonly order: number;
}

/**
 * Makes the console's memory of traces, which `SpanCapture` feeds.
 *
 * A trace is interesting once a breaker's event is on one of its spans, and that is known only when that span has ended:
 * until its last span has, a trace's spans are kept. Interesting ones then stay until newer ones take their place, those
 * with a transition and those with nothing but rejections apart: an open circuit can reject a thousand calls each
 * second, and the trace of the call that opened it is the one that people look for.
 */
export function createTraceRing({
  maxTransitionTraces = 50,
  maxRejectionTraces = 50,
  maxSpans = 200,
  maxUnderWay = 500,
}: TraceRingOptions = {}): TraceRing {
  // Maps keep the order of insertion, so the first key is the oldest.
  const rings: Readonly<Record<Interest, Map<string, Entry>>> = {
    none: new Map(),
    rejection: new Map(),
    transition: new Map(),
  };
  const limits: Readonly<Record<Interest, number>> = {
    none: maxUnderWay,
    rejection: maxRejectionTraces,
    transition: maxTransitionTraces,
  };
  const listeners = new Set<(traceId: string) => void>();
  let begun = 0;

  const find = (traceId: string) =>
    rings.transition.get(traceId) ?? rings.rejection.get(traceId) ?? rings.none.get(traceId);

  function put(entry: Entry): Entry {
    const ring = rings[entry.interest];
    ring.set(entry.traceId, entry);
    if (ring.size > limits[entry.interest]) {
      const [oldest] = ring.keys();
      ring.delete(oldest!);
    }
    return entry;
  }

  return {
    onStart: (span) => {
      const { traceId } = span.spanContext();
      const entry =
        find(traceId) ?? put({ traceId, spans: [], droppedSpans: 0, running: 0, interest: 'none', order: ++begun });
      entry.running++;
    },
    onEnd: (span) => {
      const entry = find(span.spanContext().traceId);
      // Pushed out by newer ones, or begun before the ring was there.
      if (entry === undefined) return;
      entry.running--;
      const interest = interestOf(span);
      if (entry.spans.length < maxSpans) entry.spans.push(span);
      else if (interest === 'none') entry.droppedSpans++;
      else {
        // What happened to a circuit is why the trace is kept.
        entry.spans[maxSpans - 1] = span;
        entry.droppedSpans++;
      }
      if (rank(interest) > rank(entry.interest)) {
        rings[entry.interest].delete(entry.traceId);
        entry.interest = interest;
        put(entry);
      }
      if (entry.interest !== 'none') for (const listener of listeners) listener(entry.traceId);
      else if (entry.running <= 0) rings.none.delete(entry.traceId);
    },
    traces: () => [...rings.transition.values(), ...rings.rejection.values()].sort((a, b) => b.order - a.order),
    get: (traceId) => rings.transition.get(traceId) ?? rings.rejection.get(traceId),
    onChange: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}

function rank(interest: Interest): number {
  return { none: 0, rejection: 1, transition: 2 }[interest];
}

function interestOf({ events }: SdkSpan): Interest {
  if (events.some(({ name }) => name === EVENT.transition)) return 'transition';
  return events.some(({ name }) => isBreakerEvent(name)) ? 'rejection' : 'none';
}

/** When the first span of a trace started. */
export function startOf({ spans }: RingTrace): HrTime {
  return spans
    .map(({ startTime }) => startTime)
    .reduce((first, other) => ((other[0] - first[0] || other[1] - first[1]) < 0 ? other : first));
}
