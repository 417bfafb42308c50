import type { HrTime } from '@opentelemetry/api';
import type { SdkSpan } from '../telemetry/events/sdk-span.js';
import type { RingTrace } from './history/trace-ring.js';

/**
 * Traces as OTLP/JSON, the form that Jaeger, Tempo and other viewers import.
 *
 * Written here and not by OpenTelemetry's exporter: that would be a dependency of half a megabyte for one download.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */
export function toOtlp(traces: readonly RingTrace[]): object {
  const spans = traces.flatMap((trace) => trace.spans);
  return {
    resourceSpans: grouped(spans, ({ resource }) => resource).map(([resource, ofResource]) => ({
      resource: { attributes: keyValues(resource.attributes) },
      scopeSpans: grouped(ofResource, ({ instrumentationScope: { name, version = '' } }) => `${name}\0${version}`).map(
        ([, ofScope]) => {
          const { name, version = '' } = ofScope[0]!.instrumentationScope;
          return { scope: { name, version }, spans: ofScope.map(otlpSpan) };
        },
      ),
    })),
  };
}

function otlpSpan(span: SdkSpan): object {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext();
  const { status } = span;
  return {
    traceId,
    spanId,
    flags: traceFlags,
    ...(traceState !== undefined && { traceState: traceState.serialize() }),
    ...(span.parentSpanContext !== undefined && { parentSpanId: span.parentSpanContext.spanId }),
    name: span.name,
    // OTLP counts kinds from 1, the API from 0; 0 is "unspecified" there.
    kind: span.kind + 1,
    startTimeUnixNano: nanos(span.startTime),
    endTimeUnixNano: nanos(span.endTime),
    attributes: keyValues(span.attributes),
    events: span.events.map(({ name, time, attributes = {} }) => ({
      timeUnixNano: nanos(time),
      name,
      attributes: keyValues(attributes),
    })),
    links: span.links.map(({ context, attributes = {} }) => ({
      traceId: context.traceId,
      spanId: context.spanId,
      attributes: keyValues(attributes),
    })),
    status: { code: status.code, ...(status.message !== undefined && { message: status.message }) },
  };
}

/** 64-bit numbers are strings in OTLP/JSON. */
function nanos([seconds, rest]: HrTime): string {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(Math.round(rest)));
}

function keyValues(attributes: Readonly<Record<string, unknown>>): object[] {
  return Object.entries(attributes)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: unknown): object {
  switch (typeof value) {
    case 'string':
      return { stringValue: value };
    case 'boolean':
      return { boolValue: value };
    case 'number':
      return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
    default:
      return Array.isArray(value) ? { arrayValue: { values: value.map(anyValue) } } : { stringValue: String(value) };
  }
}

function grouped<T, Key>(items: readonly T[], keyOf: (item: T) => Key): [Key, T[]][] {
  const groups = new Map<Key, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups];
}
