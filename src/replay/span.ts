/** One span as files have it, of OTLP or of Jaeger: read where it is asked. */
export interface Span {
  readonly isClient: boolean;
  readonly name: string;
  /** Milliseconds since 1970; `undefined` where it is missing. */
  readonly startMs: number | undefined;
  /** In milliseconds; `undefined` where the span has no end, or one before its start. */
  readonly durationMs: number | undefined;
  readonly attributes: Values;
  /** Its events, the oldest first. */
  readonly events: readonly { readonly name: string; readonly attributes: Values }[];
  /** Whether its status is an error, and what that says. */
  readonly failed: boolean;
  readonly failure: string;
  readonly traceState: string;
}

/** Attributes by their names. */
export type Values = Readonly<Record<string, unknown>>;

/** @returns `undefined` where it is a span of neither */
export function readSpan(value: unknown): Span | undefined {
  if (!isRecord(value)) return undefined;
  if ('traceID' in value) return readJaeger(value);
  return 'traceId' in value || 'startTimeUnixNano' in value ? readOtlp(value) : undefined;
}

const NANOSECONDS = 1e6;
const NANOSECOND_DIGITS = 6;
const MICROSECONDS = 1e3;
const NO_EVENTS: Span['events'] = [];

function readOtlp(span: Record<string, unknown>): Span {
  const { kind } = span;
  const start = time(span.startTimeUnixNano, NANOSECONDS);
  const end = time(span.endTimeUnixNano, NANOSECONDS);
  const status = isRecord(span.status) ? span.status : {};
  return {
    // A number as the protocol has it, the name of it as Tempo and others write it.
    isClient: kind === 3 || kind === 'SPAN_KIND_CLIENT',
    name: text(span.name),
    startMs: start,
    durationMs: start !== undefined && end !== undefined && end >= start ? end - start : undefined,
    attributes: otlpValues(span.attributes),
    events: listOf(span.events).map((event) => ({ name: text(event.name), attributes: otlpValues(event.attributes) })),
    failed: status.code === 2 || status.code === 'STATUS_CODE_ERROR',
    failure: text(status.message),
    traceState: text(span.traceState),
  };
}

function otlpValues(list: unknown): Values {
  const values: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const { key, value } of listOf(list)) if (typeof key === 'string') values[key] = otlpValue(value);
  return values;
}

function otlpValue(value: unknown): unknown {
  if (!isRecord(value)) return undefined;
  if ('stringValue' in value) return value.stringValue;
  // 64 bits are a text there.
  if ('intValue' in value) return Number(value.intValue);
  if ('doubleValue' in value) return value.doubleValue;
  if ('boolValue' in value) return value.boolValue;
  const { arrayValue } = value;
  return isRecord(arrayValue) ? listOf(arrayValue.values).map(otlpValue) : undefined;
}

function readJaeger(span: Record<string, unknown>): Span {
  const attributes = jaegerValues(span.tags);
  const { duration } = span;
  const failed = attributes.error === true || attributes['otel.status_code'] === 'ERROR';
  const logs = listOf(span.logs);
  return {
    isClient: attributes['span.kind'] === 'client',
    name: text(span.operationName),
    startMs: time(span.startTime, MICROSECONDS),
    durationMs: typeof duration === 'number' && duration >= 0 ? duration / MICROSECONDS : undefined,
    attributes,
    events:
      logs.length === 0
        ? NO_EVENTS
        : logs.map(({ fields }) => {
            const values = jaegerValues(fields);
            return { name: text(values.event), attributes: values };
          }),
    failed,
    failure: text(attributes['otel.status_description']),
    traceState: text(attributes['w3c.tracestate']),
  };
}

function jaegerValues(list: unknown): Values {
  const values: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const { key, type, value } of listOf(list)) {
    if (typeof key === 'string') values[key] = type === 'int64' ? Number(value) : value;
  }
  return values;
}

function time(value: unknown, perMillisecond: number): number | undefined {
  let number = NaN;
  if (typeof value === 'number') number = value / perMillisecond;
  // Nanoseconds since 1970 are more than a number holds.
  else if (typeof value === 'string') {
    number = Number(value.slice(0, -NANOSECOND_DIGITS)) + Number(value.slice(-NANOSECOND_DIGITS)) / NANOSECONDS;
  }
  return number > 0 && number < Infinity ? number : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function listOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
