/** Spans as files have them, for tests. */

/** One call of a recording that a test makes up. */
export interface MadeCall {
  /** Milliseconds after the recording begins. */
  readonly at: number;
  readonly took?: number;
  readonly host?: string;
  /** Of an answer; default 200. */
  readonly status?: number;
  /** In place of an answer. */
  readonly error?: { readonly type: string; readonly message: string };
  readonly traceState?: string;
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly events?: readonly { readonly name: string; readonly attributes?: Readonly<Record<string, unknown>> }[];
}

export const BEGIN_MS = Date.UTC(2026, 10, 25, 12);

function values(attributes: Readonly<Record<string, unknown>>): object[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: unknown): object {
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } };
  if (typeof value === 'boolean') return { boolValue: value };
  return typeof value === 'number' ? { intValue: String(value) } : { stringValue: value };
}

const nanos = (ms: number) => `${Math.round((BEGIN_MS + ms) * 1e3)}000`;

/** A CLIENT span of HTTP by today's conventions. */
export function otlpSpan({ at, took = 5, host = 'api.example.com', status = 200, error, ...more }: MadeCall): object {
  return {
    traceId: '5b8efff798038103d269b633813fc60c',
    spanId: 'eee19b7ec3c1b174',
    name: 'GET',
    kind: 3,
    startTimeUnixNano: nanos(at),
    endTimeUnixNano: nanos(at + took),
    attributes: values({
      'http.request.method': 'GET',
      'server.address': host,
      'server.port': 443,
      'url.full': `https://${host}/orders`,
      ...(error === undefined ? { 'http.response.status_code': status } : { 'error.type': error.type }),
      ...more.attributes,
    }),
    events: [
      ...(error === undefined
        ? []
        : [{ name: 'exception', attributes: { 'exception.type': error.type, 'exception.message': error.message } }]),
      ...(more.events ?? []),
    ].map(({ name, attributes = {} }) => ({ name, timeUnixNano: nanos(at), attributes: values(attributes) })),
    status: error === undefined && status < 400 ? {} : { code: 2, message: error?.message ?? '' },
    ...(more.traceState !== undefined && { traceState: more.traceState }),
  };
}

export function otlpDocument(spans: readonly object[]): object {
  return { resourceSpans: [{ resource: { attributes: [] }, scopeSpans: [{ scope: { name: 'test' }, spans }] }] };
}

/** As a Collector's file exporter writes it. */
export function otlpLines(calls: readonly MadeCall[], perLine = 10): string {
  const lines: string[] = [];
  for (let from = 0; from < calls.length; from += perLine) {
    lines.push(JSON.stringify(otlpDocument(calls.slice(from, from + perLine).map(otlpSpan))));
  }
  return `${lines.join('\n')}\n`;
}

/** Calls each `everyMs`, which fail from one moment to another. */
export function outage(fromMs: number, toMs: number, untilMs: number, everyMs = 100): MadeCall[] {
  return Array.from({ length: untilMs / everyMs }, (_, index) => {
    const at = index * everyMs;
    return at >= fromMs && at < toMs ? { at, took: 50, status: 503 } : { at };
  });
}
