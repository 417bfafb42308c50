import type { Attributes, HrTime, SpanContext } from '@opentelemetry/api';
import type { SdkSpan } from '../../telemetry/events/sdk-span.js';
import { ATTRIBUTE, EVENT, isBreakerEvent, isTurningPoint } from '../../telemetry/names.js';

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
  /** Traces in which an outage, or panic, began or ended; default 50. */
  readonly maxTurningPointTraces?: number;
  /** Traces in which a circuit changed its state in between; default 50. */
  readonly maxProbeTraces?: number;
  /** Traces in which a call was rejected and nothing else happened; default 50. */
  readonly maxRejectionTraces?: number;
  /** Spans of one trace; default 200. */
  readonly maxSpans?: number;
  /** Traces under way, whose spans are kept until it is known whether a breaker had a part in them; default 500. */
  readonly maxUnderWay?: number;
  /** Memory of all spans together, as far as it can be told, in bytes; default 16 MB. */
  readonly maxBytes?: number;
}

// A span of more is kept with its texts cut: a statement or a body can have megabytes.
const MAX_SPAN_BYTES = 32 * 1024;
const MAX_TEXT = 512;
const MAX_ITEMS = 16;
// What a span has besides its texts.
const BARE_SPAN_BYTES = 1_000;

/** The least interesting first. */
const INTERESTS = ['none', 'rejection', 'probe', 'turningPoint'] as const;
type Interest = (typeof INTERESTS)[number];

interface Entry extends RingTrace {
  spans: SdkSpan[];
  droppedSpans: number;
  /** Spans that have started and not ended. */
  running: number;
  interest: Interest;
  bytes: number;
  /** Grows from trace to trace: clocks are too coarse to tell which of two began first. */
  readonly order: number;
}

/**
 * Makes the console's memory of traces, which `SpanCapture` feeds.
 *
 * A trace is interesting once a breaker's event is on one of its spans, and that is known only when that span has ended:
 * until its last span has, a trace's spans are kept. Interesting ones then stay until newer ones of their kind take their
 * place: an open circuit can reject a thousand calls each second, and its probes may fail for hours; the trace of the call
 * that opened it is the one that people look for.
 */
export function createTraceRing({
  maxTurningPointTraces = 50,
  maxProbeTraces = 50,
  maxRejectionTraces = 50,
  maxSpans = 200,
  maxUnderWay = 500,
  maxBytes = 16 * 1024 * 1024,
}: TraceRingOptions = {}): TraceRing {
  // Maps keep the order of insertion, so the first key is the oldest.
  const rings: Readonly<Record<Interest, Map<string, Entry>>> = {
    none: new Map(),
    rejection: new Map(),
    probe: new Map(),
    turningPoint: new Map(),
  };
  const limits: Readonly<Record<Interest, number>> = {
    none: maxUnderWay,
    rejection: maxRejectionTraces,
    probe: maxProbeTraces,
    turningPoint: maxTurningPointTraces,
  };
  const listeners = new Set<(traceId: string) => void>();
  let begun = 0;
  let bytes = 0;

  const findKept = (traceId: string) =>
    rings.turningPoint.get(traceId) ?? rings.probe.get(traceId) ?? rings.rejection.get(traceId);
  const find = (traceId: string) => findKept(traceId) ?? rings.none.get(traceId);

  function put(entry: Entry): Entry {
    const ring = rings[entry.interest];
    ring.set(entry.traceId, entry);
    if (ring.size > limits[entry.interest]) drop(ring.values().next().value!);
    return entry;
  }

  function drop(entry: Entry): void {
    if (rings[entry.interest].delete(entry.traceId)) bytes -= entry.bytes;
  }

  function keep(entry: Entry, span: SdkSpan, index: number): void {
    const before = entry.spans[index];
    const kept = slim(span);
    const more = sizeOf(kept) - (before === undefined ? 0 : sizeOf(before));
    entry.spans[index] = kept;
    entry.bytes += more;
    bytes += more;
  }

  /** The least interesting first, and of those the oldest; never the one that has just got a span. */
  function makeRoom(newest: Entry): void {
    for (const interest of INTERESTS) {
      for (const entry of rings[interest].values()) {
        if (bytes <= maxBytes) return;
        if (entry !== newest) drop(entry);
      }
    }
  }

  return {
    onStart: (span) => {
      const { traceId } = span.spanContext();
      const entry =
        find(traceId) ??
        put({ traceId, spans: [], droppedSpans: 0, running: 0, bytes: 0, interest: 'none', order: ++begun });
      entry.running++;
    },
    onEnd: (span) => {
      const entry = find(span.spanContext().traceId);
      // Pushed out by newer ones, or begun before the ring was there.
      if (entry === undefined) return;
      entry.running--;
      const interest = interestOf(span);
      if (entry.spans.length < maxSpans) keep(entry, span, entry.spans.length);
      else if (interest === 'none') entry.droppedSpans++;
      else {
        // What happened to a circuit is why the trace is kept.
        keep(entry, span, maxSpans - 1);
        entry.droppedSpans++;
      }
      if (INTERESTS.indexOf(interest) > INTERESTS.indexOf(entry.interest)) {
        rings[entry.interest].delete(entry.traceId);
        entry.interest = interest;
        put(entry);
      }
      makeRoom(entry);
      if (entry.interest !== 'none') for (const listener of listeners) listener(entry.traceId);
      else if (entry.running <= 0) drop(entry);
    },
    traces: () =>
      [...rings.turningPoint.values(), ...rings.probe.values(), ...rings.rejection.values()].sort(
        (a, b) => b.order - a.order,
      ),
    get: findKept,
    onChange: (listener) => {
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
      };
    },
  };
}

/** What a span keeps in memory, as far as it can be told: its texts. */
function sizeOf({ name, attributes, events, links }: SdkSpan): number {
  let bytes = BARE_SPAN_BYTES + name.length + sizeOfAttributes(attributes);
  for (const event of events) bytes += event.name.length + sizeOfAttributes(event.attributes);
  for (const link of links) bytes += sizeOfAttributes(link.attributes);
  return bytes;
}

function sizeOfAttributes(attributes: Attributes = {}): number {
  let bytes = 0;
  for (const [key, value] of Object.entries(attributes)) bytes += key.length + sizeOfValue(value);
  return bytes;
}

function sizeOfValue(value: unknown): number {
  if (typeof value === 'string') return value.length;
  return Array.isArray(value) ? value.reduce((sum: number, item) => sum + sizeOfValue(item), 8) : 8;
}

/** A span of reasonable size as it is; of a larger one a copy that holds nothing of it but beginnings. */
function slim(span: SdkSpan): SdkSpan {
  if (sizeOf(span) <= MAX_SPAN_BYTES) return span;
  const context = span.spanContext();
  return {
    name: cut(span.name),
    kind: span.kind,
    spanContext: () => context,
    parentSpanContext: span.parentSpanContext,
    startTime: span.startTime,
    endTime: span.endTime,
    status: span.status,
    attributes: cutAttributes(span.attributes),
    // Those of breakers are why it is kept, and come among the last.
    events: span.events.slice(-MAX_ITEMS).map(({ name, time, attributes }) => ({
      name: cut(name),
      time,
      attributes: cutAttributes(attributes),
    })),
    links: span.links.slice(-MAX_ITEMS).map(({ context: linked, attributes }) => ({
      context: linked,
      attributes: cutAttributes(attributes),
    })),
    resource: span.resource,
    instrumentationScope: span.instrumentationScope,
  };
}

function cutAttributes(attributes: Attributes = {}): Attributes {
  const few: Attributes = {};
  for (const [key, value] of Object.entries(attributes).slice(0, 2 * MAX_ITEMS)) {
    if (typeof value === 'string') few[cut(key)] = cut(value);
    else if (!Array.isArray(value)) few[cut(key)] = value;
  }
  return few;
}

/** Through a buffer: a part of a text would keep the whole text in memory. */
function cut(text: string): string {
  return text.length <= MAX_TEXT ? text : `${Buffer.from(text.slice(0, MAX_TEXT)).toString()}…`;
}

function interestOf({ events }: SdkSpan): Interest {
  let most: Interest = 'none';
  for (const { name, attributes = {} } of events) {
    if (name === EVENT.panic) return 'turningPoint';
    if (name === EVENT.transition) {
      if (isTurningPoint(attributes[ATTRIBUTE.stateFrom], attributes[ATTRIBUTE.stateTo])) return 'turningPoint';
      most = 'probe';
    } else if (most === 'none' && isBreakerEvent(name)) most = 'rejection';
  }
  return most;
}

/** When the first span of a trace started. */
export function startOf({ spans }: RingTrace): HrTime {
  return spans
    .map(({ startTime }) => startTime)
    .reduce((first, other) => ((other[0] - first[0] || other[1] - first[1]) < 0 ? other : first));
}
