import { EventEmitter, once } from 'node:events';
import { json } from 'node:stream/consumers';
import { serve } from './servers.js';

/** A value as OTLP has it in JSON: one key that says its type. */
type OtlpValue = Record<string, string | number | boolean>;
export interface OtlpAttribute {
  readonly key: string;
  readonly value: OtlpValue;
}
type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

export interface CollectedSpan {
  readonly scope: string;
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly status: unknown;
  readonly attributes: Attributes;
  readonly events: readonly { readonly name: string; readonly attributes: Attributes }[];
}

export interface Collector {
  readonly spans: CollectedSpan[];
  /** Spans as they came: OTLP. */
  readonly resourceSpans: ResourceSpans[];
  /** Where exporters send to: for `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly endpoint: string;
  /** The newest sum or gauge of a name and labels. */
  readonly metric: (name: string, labels: Attributes) => number | undefined;
  /** Waits until what has arrived satisfies the predicate. */
  readonly until: (predicate: () => boolean) => Promise<void>;
}

/** The settings of an application that exports to a collector and nowhere else, soon and often. */
export function exportingTo({ endpoint }: Collector): NodeJS.ProcessEnv {
  return {
    OTEL_TRACES_EXPORTER: 'otlp',
    OTEL_METRICS_EXPORTER: 'otlp',
    OTEL_LOGS_EXPORTER: 'none',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    OTEL_METRIC_EXPORT_INTERVAL: '100',
    OTEL_METRIC_EXPORT_TIMEOUT: '100',
    OTEL_BSP_SCHEDULE_DELAY: '50',
    OTEL_NODE_RESOURCE_DETECTORS: 'none',
    OTEL_LOG_LEVEL: 'info',
  };
}

/** Takes traces and metrics as OTLP in JSON. */
export async function serveCollector(): Promise<Collector> {
  const arrivals = new EventEmitter();
  const spans: CollectedSpan[] = [];
  const resourceSpans: ResourceSpans[] = [];
  const points = new Map<string, { attributes: Attributes; value: number }[]>();
  const { origin } = await serve((req, res) => {
    void json(req).then((payload) => {
      takeSpans(payload as Payload, spans);
      resourceSpans.push(...((payload as Payload).resourceSpans ?? []));
      takePoints(payload as Payload, points);
      res.setHeader('content-type', 'application/json').end('{}');
      arrivals.emit('arrival');
    });
  });
  return {
    spans,
    resourceSpans,
    endpoint: origin,
    metric: (name, labels) =>
      points
        .get(name)
        ?.find(({ attributes }) => Object.entries(labels).every(([key, value]) => attributes[key] === value))?.value,
    until: async (predicate) => {
      while (!predicate()) await once(arrivals, 'arrival');
    },
  };
}

/** OTLP in JSON. */
export interface ResourceSpans {
  readonly resource: { readonly attributes: readonly OtlpAttribute[] };
  readonly scopeSpans: { readonly scope: { name: string; version?: string }; readonly spans: OtlpSpan[] }[];
}

interface Payload {
  readonly resourceSpans?: ResourceSpans[];
  readonly resourceMetrics?: { scopeMetrics: { metrics: OtlpMetric[] }[] }[];
}
export interface OtlpSpan extends Omit<CollectedSpan, 'attributes' | 'events' | 'scope'> {
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: OtlpAttribute[];
  readonly events: { readonly timeUnixNano: string; readonly name: string; readonly attributes: OtlpAttribute[] }[];
}
interface OtlpMetric {
  readonly name: string;
  readonly sum?: { dataPoints: OtlpPoint[] };
  readonly gauge?: { dataPoints: OtlpPoint[] };
}
interface OtlpPoint {
  readonly attributes: OtlpAttribute[];
  readonly asDouble?: number;
  readonly asInt?: number;
}

function takeSpans({ resourceSpans = [] }: Payload, into: CollectedSpan[]): void {
  for (const { scope, spans } of resourceSpans.flatMap(({ scopeSpans }) => scopeSpans)) {
    for (const span of spans) {
      into.push({
        ...span,
        scope: scope.name,
        attributes: toObject(span.attributes),
        events: span.events.map(({ name, attributes }) => ({ name, attributes: toObject(attributes) })),
      });
    }
  }
}

function takePoints(
  { resourceMetrics = [] }: Payload,
  into: Map<string, { attributes: Attributes; value: number }[]>,
): void {
  for (const { name, sum, gauge } of resourceMetrics
    .flatMap(({ scopeMetrics }) => scopeMetrics)
    .flatMap((s) => s.metrics)) {
    const { dataPoints } = sum ?? gauge ?? { dataPoints: [] };
    into.set(
      name,
      dataPoints.map(({ attributes, asDouble, asInt }) => ({
        attributes: toObject(attributes),
        value: Number(asDouble ?? asInt),
      })),
    );
  }
}

function toObject(attributes: readonly OtlpAttribute[]): Attributes {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
