import { ValueType, type Attributes } from '@opentelemetry/api';
import { resourceAttributes } from '../../environment.js';
import { METRIC } from '../names.js';
import type { DataPoint, MetricData, MetricProducer } from '@opentelemetry/sdk-metrics';
import { PACKAGE } from '../../version.js';
import { loadInPieces } from '../load-in-pieces.js';
import { DURATION_BOUNDS } from './durations.js';
import { DURATION, isDescribed, OBSERVED, OBSERVED_OF_PROCESS, type BreakerNumbers, type Numbers } from './metrics.js';

/** How the numbers are written down: Prometheus' own text, or OpenMetrics, which has room for traces of failing calls. */
export type TextFormat = 'prometheus' | 'openMetrics';

export const CONTENT_TYPES: Readonly<Record<TextFormat, string>> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openMetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** @param accept the header of who asks */
export function formatFor(accept = ''): TextFormat {
  return accept
    .split(',')
    .some((type) =>
      /^\s*application\/openmetrics-text\s*;(?!.*\bq=0(\.0*)?\s*(;|$)).*\bversion="?1\.0\.0\b/i.test(type),
    )
    ? 'openMetrics'
    : 'prometheus';
}

/** What scrapers read. */
export interface PrometheusPage {
  /**
   * Writes the numbers of the moment, a few breakers at a time: yields after each few how many bytes there are so far, so
   * that whoever goes through it can do something else in between, and returns all of them.
   */
  write(format?: TextFormat): Promise<Generator<number, readonly Buffer[]>>;
  stop(): Promise<void>;
}

// Half a millisecond of work.
const BREAKERS_AT_A_TIME = 5;

/** Loads what the page needs, so that the event loop of an application that runs by now never stands for long. */
export async function loadPrometheusPage(): Promise<void> {
  for (const name of ['@opentelemetry/sdk-metrics', '@opentelemetry/exporter-prometheus']) await loadInPieces(name);
}

/**
 * Loads OpenTelemetry's metrics SDK and its Prometheus exporter, which a service with a provider of its own never needs
 * from us.
 *
 * Their serializer is given finished metrics, not instruments: those would keep every series for ever, of breakers that
 * were evicted and of workers that have ended, and a histogram takes its values one by one. It is given a few breakers at
 * a time: a thousand would keep the event loop for a tenth of a second.
 *
 * @param read the numbers of the moment
 */
export function createPrometheusPage(read: () => Promise<Numbers>): PrometheusPage {
  const { AggregationTemporality, DataPointType, MeterProvider } =
    require('@opentelemetry/sdk-metrics') as typeof import('@opentelemetry/sdk-metrics');
  const { PrometheusExporter, PrometheusSerializer } =
    require('@opentelemetry/exporter-prometheus') as typeof import('@opentelemetry/exporter-prometheus');

  const cumulative = { aggregationTemporality: AggregationTemporality.CUMULATIVE } as const;
  // No part of what a scraper reads.
  const times = { startTime: [0, 0], endTime: [0, 0] } satisfies Record<string, [number, number]>;

  function metricsOf(breakers: readonly BreakerNumbers[]): MetricData[] {
    const counted = OBSERVED.map(({ name, kind, description, observe }): MetricData => {
      const dataPoints: DataPoint<number>[] = [];
      for (const breaker of breakers) {
        observe(breaker, breaker.labels, (value, attributes) => dataPoints.push({ attributes, value, ...times }));
      }
      const descriptor = { name, description, unit: '', valueType: ValueType.DOUBLE };
      return kind === 'gauge'
        ? { descriptor, ...cumulative, dataPoints, dataPointType: DataPointType.GAUGE }
        : { descriptor, ...cumulative, dataPoints, dataPointType: DataPointType.SUM, isMonotonic: true };
    });
    const durations: MetricData = {
      descriptor: { ...DURATION, valueType: ValueType.DOUBLE },
      ...cumulative,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: breakers.flatMap(({ labels, durations }) => {
        if (durations === undefined) return [];
        const { sum, counts } = durations;
        const count = counts.reduce((total, calls) => total + calls, 0);
        const buckets = { boundaries: [...DURATION_BOUNDS], counts: [...counts] };
        return [{ attributes: labels, value: { buckets, sum, count }, ...times }];
      }),
    };
    return [...counted, durations].filter(({ dataPoints }) => dataPoints.length > 0);
  }

  function metricsOfProcesses(processes: Numbers['processes']): MetricData[] {
    return OBSERVED_OF_PROCESS.map(({ name, kind, description, observe }): MetricData => {
      const dataPoints: DataPoint<number>[] = [];
      for (const process of processes) {
        observe(process, (value, labels) => {
          const attributes = { ...process.labels, ...labels };
          if (value !== undefined) dataPoints.push({ attributes, value: Number(value), ...times });
        });
      }
      const descriptor = { name, description, unit: '', valueType: ValueType.DOUBLE };
      return kind === 'gauge'
        ? { descriptor, ...cumulative, dataPoints, dataPointType: DataPointType.GAUGE }
        : { descriptor, ...cumulative, dataPoints, dataPointType: DataPointType.SUM, isMonotonic: true };
    }).filter(({ dataPoints }) => dataPoints.length > 0);
  }

  const scope = { name: PACKAGE.name, version: PACKAGE.version };
  const nothing: MetricProducer = {
    // The reader takes the resource of its provider.
    collect: () => Promise.resolve({ resourceMetrics: { resource: undefined as never, scopeMetrics: [] }, errors: [] }),
  };
  // For the resource alone.
  const exporter = new PrometheusExporter({ preventServerStart: true, metricProducers: [nothing] });
  const provider = new MeterProvider({ readers: [exporter] });
  const aboutTarget = new PrometheusSerializer();
  const aboutBreakers = new PrometheusSerializer(undefined, false, undefined, true);

  function* write(
    { resource }: { readonly resource: Parameters<typeof aboutTarget.serialize>[0]['resource'] },
    { breakers: all, processes }: Numbers,
    format: TextFormat,
  ): Generator<number, readonly Buffer[]> {
    const breakers = all.filter(isDescribed);
    const described = withEnvironment(resource);
    const whole = aboutTarget.serialize({ resource: described, scopeMetrics: [] });
    const asOpenMetrics = format === 'openMetrics';
    // All breakers of a metric stand together, under one description: sorted by metric here, written by breaker.
    const byMetric = new Map<string, Buffer[]>();
    let bytes = 0;
    for (let from = 0; from < breakers.length; from += BREAKERS_AT_A_TIME) {
      const some = breakers.slice(from, from + BREAKERS_AT_A_TIME);
      for (const metric of metricsOf(some)) {
        let text = aboutBreakers.serialize({ resource, scopeMetrics: [{ scope, metrics: [metric] }] });
        const { name } = metric.descriptor;
        if (asOpenMetrics) text = toOpenMetrics(text, name === METRIC.failedCalls ? some : []);
        const pieces = byMetric.get(name);
        const piece = Buffer.from(pieces === undefined ? text : withoutDescription(text));
        if (pieces === undefined) byMetric.set(name, [piece]);
        else pieces.push(piece);
        bytes += piece.length;
      }
      yield bytes;
    }
    const inOrder = [...OBSERVED.map(({ name }) => name), DURATION.name].flatMap((name) => byMetric.get(name) ?? []);
    const metrics = metricsOfProcesses(processes);
    if (metrics.length > 0) {
      const text = aboutBreakers.serialize({ resource, scopeMetrics: [{ scope, metrics }] });
      inOrder.push(Buffer.from(asOpenMetrics ? toOpenMetrics(text) : text));
    }
    if (asOpenMetrics) return [Buffer.from(toOpenMetrics(withoutRemark(whole))), ...inOrder, Buffer.from('# EOF\n')];
    // Of a target without breakers, its whole page says that there are none.
    if (inOrder.length === 0) return [Buffer.from(whole)];
    return [Buffer.from(withoutRemark(whole)), ...inOrder];
  }

  return {
    write: async (format = 'prometheus') => {
      const { resourceMetrics } = await exporter.collect();
      return write(resourceMetrics, await read(), format);
    },
    stop: () => provider.shutdown(),
  };
}

/** The resource of an SDK's provider, with what the environment says of the service. */
function withEnvironment<Resource extends { readonly attributes: Attributes }>(resource: Resource): Resource {
  const attributes = { ...resource.attributes, ...resourceAttributes() };
  return Object.create(resource, { attributes: { value: attributes } }) as Resource;
}

/**
 * Prometheus' text as OpenMetrics: there, the names of counters are described without `_total`, that of target_info
 * without `_info`, and a unit is the one in the name.
 *
 * @param failing whose failed calls these lines count, in this order: each gets the trace of its last one as its exemplar
 */
function toOpenMetrics(text: string, failing: readonly BreakerNumbers[] = []): string {
  let sample = 0;
  return text
    .split('\n')
    .map((line) => {
      if (line.startsWith('# UNIT ')) return line.replace(/ s$/, ' seconds');
      if (line === '# TYPE target_info gauge') return '# TYPE target info';
      if (line.startsWith('# ')) return line.replace(/^(# \w+ (?:\w+(?=_total )|target(?=_info )))_\w+ /, '$1 ');
      const failure = line === '' ? undefined : failing[sample++]?.lastFailure;
      if (failure === undefined) return line;
      const { traceId, spanId, at } = failure;
      return `${line} # {trace_id="${traceId}",span_id="${spanId}"} 1 ${at / 1_000}`;
    })
    .join('\n');
}

/** Values of labels have no line ends of their own, so a line that begins with `#` does not come from one. */
function withoutDescription(text: string): string {
  let start = 0;
  while (text[start] === '#') start = text.indexOf('\n', start) + 1;
  return text.slice(start);
}

/** What the serializer says instead of metrics where there are none. */
function withoutRemark(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1);
}
