import type { Attributes } from '@opentelemetry/api';
import type { SdkSpan } from '../telemetry/events/sdk-span.js';
import type { RingTrace, TraceRing } from './history/trace-ring.js';

const REDACTED = 'REDACTED';
const URLS: ReadonlySet<string> = new Set(['url.full', 'url.original', 'http.url', 'http.target', 'http.referer']);
const STATEMENTS: ReadonlySet<string> = new Set(['db.query.text', 'db.statement']);
const VALUES = [
  'http.request.header.',
  'http.response.header.',
  'db.query.parameter.',
  'db.operation.parameter.',
  'db.postgresql.values',
] as const;
// Elsewhere text in double quotes is a name.
const QUOTES_TEXT_DOUBLY = /mysql|mariadb|sqlite|mssql|sql_server/;

/**
 * A memory of traces that shows no more than OpenTelemetry's conventions want to be seen: names of query parameters without
 * their values, statements without literals, no values of headers and of parameters.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/db/database-spans/#sanitization-of-dbquerytext
 * @see https://opentelemetry.io/docs/specs/semconv/registry/attributes/url/
 */
export function redacted(ring: TraceRing): TraceRing {
  // A page asks for the same spans every second.
  const known = new WeakMap<SdkSpan, SdkSpan>();
  const redactOnce = (span: SdkSpan): SdkSpan => {
    const before = known.get(span);
    if (before !== undefined) return before;
    const after = redactSpan(span);
    known.set(span, after);
    return after;
  };
  const redactTrace = ({ traceId, droppedSpans, spans }: RingTrace): RingTrace => {
    let shown: readonly SdkSpan[] | undefined;
    return {
      traceId,
      droppedSpans,
      // When they are looked at: of all traces at once it would hold the event loop.
      get spans() {
        return (shown ??= spans.map(redactOnce));
      },
    };
  };
  return {
    onStart: (span) => ring.onStart(span),
    onEnd: (span) => ring.onEnd(span),
    onChange: (listener) => ring.onChange(listener),
    traces: () => ring.traces().map(redactTrace),
    get: (traceId) => {
      const trace = ring.get(traceId);
      return trace && redactTrace(trace);
    },
  };
}

function redactSpan(span: SdkSpan): SdkSpan {
  return {
    name: span.name.replace(/\?\S*=\S*/, `?${REDACTED}`),
    kind: span.kind,
    spanContext: () => span.spanContext(),
    parentSpanContext: span.parentSpanContext,
    startTime: span.startTime,
    endTime: span.endTime,
    status: span.status,
    attributes: redactAttributes(span.attributes),
    events: span.events.map((event) => ({
      ...event,
      attributes: event.attributes && redactAttributes(event.attributes),
    })),
    links: span.links,
    resource: span.resource,
    instrumentationScope: span.instrumentationScope,
  };
}

function redactAttributes(attributes: Attributes): Attributes {
  const system = String(attributes['db.system.name'] ?? attributes['db.system'] ?? '');
  const shown: Attributes = {};
  for (const [key, value] of Object.entries(attributes)) {
    if (VALUES.some((prefix) => key.startsWith(prefix))) shown[key] = REDACTED;
    else if (typeof value !== 'string') shown[key] = value;
    else if (key === 'url.query') shown[key] = redactQuery(value);
    else if (URLS.has(key)) shown[key] = redactUrl(value);
    else if (STATEMENTS.has(key)) shown[key] = redactStatement(value, system);
    else shown[key] = value;
  }
  return shown;
}

function redactUrl(url: string): string {
  const [, before, query, fragment] = /^([^?#]*)(?:\?([^#]*))?(#.*)?$/s.exec(url)!;
  const withoutUser = before!.replace(/^([a-z][a-z\d+.-]*:\/\/)[^/]*@/i, `$1${REDACTED}@`);
  return (
    withoutUser + (query === undefined ? '' : `?${redactQuery(query)}`) + (fragment === undefined ? '' : `#${REDACTED}`)
  );
}

function redactQuery(query: string): string {
  const mark = query.startsWith('?') ? '?' : '';
  const pairs = query.slice(mark.length).split('&');
  return (
    mark +
    pairs
      .map((pair) => {
        const end = pair.indexOf('=');
        if (pair === '') return '';
        return end < 0 ? REDACTED : `${pair.slice(0, end)}=${REDACTED}`;
      })
      .join('&')
  );
}

function redactStatement(statement: string, system: string): string {
  if (system === 'redis' || system === 'memcached') {
    const [command, key, ...rest] = statement.split(/\s+/);
    // As instrumentations write it that have left values out themselves.
    if (rest.length === 0 || rest[0]!.startsWith('[')) return statement;
    return [command, key, '?'].join(' ');
  }
  const quotes = statement.split("'").length - 1;
  // Where a backslash may end no quote, or a quote has no end, nobody can tell what is within: all from there on is left out.
  const unsure = quotes % 2 === 1 || (quotes > 0 && statement.includes('\\'));
  let text = unsure ? `${statement.slice(0, statement.indexOf("'"))}?` : statement.replace(/'[^']*'(?:'[^']*')*/g, '?');
  if (QUOTES_TEXT_DOUBLY.test(system)) text = text.replace(/"[^"]*"?/g, '?');
  return text
    .replace(/\$([a-z_]*)\$[^$]*(?:\$\1\$)?/gi, '?')
    .replace(/(?<![\w$])[+-]?(?:0x[\da-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)\b/gi, '?');
}
