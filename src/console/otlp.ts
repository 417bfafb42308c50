import type { HrTime } from '@opentelemetry/api';
import type { SdkSpan } from '../telemetry/events/sdk-span.js';
import type { RingTrace } from './history/trace-ring.js';
import { PieceWriter, type Pieces } from './shared-answer.js';

/**
 * Traces as OTLP/JSON, the form that Jaeger, Tempo and other viewers import, span by span.
 *
 * Written here and not by OpenTelemetry's exporter: that would be a dependency of half a megabyte for one download.
 *
 * @see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */
export function* otlpPieces(traces: readonly RingTrace[]): Pieces {
  const writer = new PieceWriter();
  const bytes = writer.add('{"resourceSpans":[');
  const byResource = new Map<SdkSpan['resource'], Map<string, SdkSpan[]>>();
  for (const trace of traces) {
    for (const span of trace.spans) listOf(byResource, span).push(span);
    yield bytes;
  }
  for (const [index, [resource, byScope]] of [...byResource].entries()) {
    const attributes = write(keyValues(resource.attributes));
    yield writer.add(`${index > 0 ? ',' : ''}{"resource":{"attributes":${attributes}},"scopeSpans":[`);
    for (const [place, spans] of [...byScope.values()].entries()) {
      const { name, version = '' } = spans[0]!.instrumentationScope;
      yield writer.add(`${place > 0 ? ',' : ''}{"scope":${write({ name, version })},"spans":[`);
      yield* writer.addItems(spans, (span) => write(otlpSpan(span)));
      yield writer.add(']}');
    }
    yield writer.add(']}');
  }
  yield writer.add(']}\n');
  return writer.pieces;
}

/** People read it as well. */
const write = (value: object) => JSON.stringify(value, null, 1);

function listOf(byResource: Map<SdkSpan['resource'], Map<string, SdkSpan[]>>, span: SdkSpan): SdkSpan[] {
  const { name, version = '' } = span.instrumentationScope;
  const byScope = madeOnce(byResource, span.resource, () => new Map<string, SdkSpan[]>());
  return madeOnce(byScope, `${name}\0${version}`, () => []);
}

function madeOnce<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
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
