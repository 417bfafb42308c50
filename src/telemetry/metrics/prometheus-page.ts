import { ValueType, type Attributes } from '@opentelemetry/api';
import { resourceAttributes } from '../../environment.js';
import type { FailureTrace } from '../events/span-events.js';
import { METRIC } from '../names.js';
import type { DataPoint, MetricData, MetricProducer } from '@opentelemetry/sdk-metrics';
import { PACKAGE } from '../../version.js';
import { loadInPieces } from '../load-in-pieces.js';
import { DURATION_BOUNDS, type DurationTotals } from './durations.js';
import { DURATION, isDescribed, OBSERVED, OBSERVED_OF_PROCESS, type Numbers } from './metrics.js';

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
const BREAKERS_AT_A_TIME = 20;

/** Loads what the page needs, so that the event loop of an application that runs by now never stands for long. */
export async function loadPrometheusPage(): Promise<void> {
  for (const name of ['@opentelemetry/sdk-metrics', '@opentelemetry/exporter-prometheus']) await loadInPieces(name);
}

/**
 * Loads OpenTelemetry's metrics SDK and its Prometheus exporter, which a service with a provider of its own never needs
 * from us.
 *
 * Their serializer is given finished metrics, not instruments: those would keep every series for ever, of breakers that
 * were evicted and of workers that have ended, and a histogram takes its values one by one. What has a form that it alone
 * knows is asked of it once for each metric and each breaker: a description, and how labels are written. The lines are put
 * together here, for a tenth of the time, and a few breakers at a time, so that the event loop can turn.
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

  const counted = OBSERVED.map(({ name, kind, description }): MetricData => {
    const descriptor = { name, description, unit: '', valueType: ValueType.DOUBLE };
    return kind === 'gauge'
      ? { descriptor, ...cumulative, dataPoints: [], dataPointType: DataPointType.GAUGE }
      : { descriptor, ...cumulative, dataPoints: [], dataPointType: DataPointType.SUM, isMonotonic: true };
  });
  const durations: MetricData = {
    descriptor: { ...DURATION, valueType: ValueType.DOUBLE },
    ...cumulative,
    dataPointType: DataPointType.HISTOGRAM,
    dataPoints: [],
  };

  type Resource = Parameters<typeof aboutTarget.serialize>[0]['resource'];

  function serialize(resource: Resource, metric: MetricData): string {
    return aboutBreakers.serialize({ resource, scopeMetrics: [{ scope, metrics: [metric] }] });
  }

  /** What stands in the braces of a gauge with these labels. */
  function labelsOf(resource: Resource, labels: Attributes): string {
    const gauge = { ...counted[0]!, dataPoints: [{ attributes: labels, value: 0, ...times }] } as MetricData;
    const lines = serialize(resource, gauge).trimEnd();
    // Values of labels have no line ends of their own.
    return lines.slice(lines.indexOf('{', lines.lastIndexOf('\n')) + 1, -'} 0'.length);
  }

  function* write(
    resource: Resource,
    { breakers: all, processes }: Numbers,
    format: TextFormat,
  ): Generator<number, readonly Buffer[]> {
    const asOpenMetrics = format === 'openMetrics';
    const written = (text: string) => (asOpenMetrics ? toOpenMetrics(text) : text);
    const breakers = all.filter(isDescribed);
    const whole = aboutTarget.serialize({ resource: withEnvironment(resource), scopeMetrics: [] });
    const ofScope = labelsOf(resource, {});
    // All breakers of a metric stand together, under one description: sorted by metric here, written by breaker.
    const linesOf = (metric: MetricData) => {
      const description = serialize(resource, metric);
      return new Lines(/^# TYPE (\S+)/m.exec(description)![1]!, written(description));
    };
    const observed = counted.map(linesOf);
    const histogram = linesOf(durations);
    let bytes = 0;
    for (let from = 0; from < breakers.length; from += BREAKERS_AT_A_TIME) {
      for (const breaker of breakers.slice(from, from + BREAKERS_AT_A_TIME)) {
        const labels = labelsOf(resource, breaker.labels).slice(0, -ofScope.length);
        const failure = asOpenMetrics ? breaker.lastFailure : undefined;
        OBSERVED.forEach(({ name, observe }, index) => {
          const exemplar = failure !== undefined && name === METRIC.failedCalls ? exemplarOf(failure) : '';
          observe(breaker, NO_LABELS, (value, further) =>
            observed[index]!.add(labels + inBraces(further) + ofScope, value, exemplar),
          );
        });
        if (breaker.durations !== undefined) histogram.addHistogram(labels + ofScope, breaker.durations);
      }
      for (const lines of [...observed, histogram]) bytes += lines.flush();
      yield bytes;
    }
    const inOrder = [...observed, histogram].flatMap((lines) => lines.pieces);
    const metrics = metricsOfProcesses(processes);
    if (metrics.length > 0) {
      inOrder.push(Buffer.from(written(aboutBreakers.serialize({ resource, scopeMetrics: [{ scope, metrics }] }))));
    }
    if (asOpenMetrics) return [Buffer.from(toOpenMetrics(withoutRemark(whole))), ...inOrder, Buffer.from('# EOF\n')];
    // Of a target without breakers, its whole page says that there are none.
    if (inOrder.length === 0) return [Buffer.from(whole)];
    return [Buffer.from(withoutRemark(whole)), ...inOrder];
  }

  return {
    write: async (format = 'prometheus') => {
      const { resourceMetrics } = await exporter.collect();
      return write(resourceMetrics.resource, await read(), format);
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
 * Descriptions of Prometheus' text as OpenMetrics has them: there, the names of counters are described without `_total`,
 * that of target_info without `_info`, and a unit is the one in the name. Lines of samples are the same in both.
 */
function toOpenMetrics(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      if (line.startsWith('# UNIT ')) return line.replace(/ s$/, ' seconds');
      if (line === '# TYPE target_info gauge') return '# TYPE target info';
      return line.replace(/^(# \w+ (?:\w+(?=_total )|target(?=_info )))_\w+ /, '$1 ');
    })
    .join('\n');
}

/** What OpenMetrics has behind the value of a counter: the trace that the last of what it counts belongs to. */
function exemplarOf({ traceId, spanId, at }: FailureTrace): string {
  return ` # {trace_id="${traceId}",span_id="${spanId}"} 1 ${at / 1_000}`;
}

const NO_LABELS: Attributes = {};

/** Labels that a metric adds to those of a breaker, whose names and values are words of ours; with the comma behind them. */
function inBraces(further: Attributes): string {
  let text = '';
  for (const name in further) text += `${name}="${String(further[name])}",`;
  return text;
}

/** The lines of one metric, in the form that the serializer gives them. */
class Lines {
  readonly pieces: Buffer[] = [];
  #text = '';

  /** @param description stands before the first line, and is left out where there is none */
  constructor(
    private readonly name: string,
    private readonly description: string,
  ) {}

  /** @param exemplar with the space in front of it */
  add(labels: string, value: number, exemplar: string): void {
    this.#text += `${this.name}{${labels}} ${value}${exemplar}\n`;
  }

  addHistogram(labels: string, { counts, sum }: DurationTotals): void {
    const { name } = this;
    let buckets = '';
    let calls = 0;
    for (let bucket = 0; bucket < counts.length; bucket++) {
      calls += counts[bucket]!;
      buckets += `${name}_bucket{${labels},le="${DURATION_BOUNDS[bucket] ?? '+Inf'}"} ${calls}\n`;
    }
    this.#text += `${name}_count{${labels}} ${calls}\n${name}_sum{${labels}} ${sum}\n${buckets}`;
  }

  /** @returns how many bytes were added since the last time */
  flush(): number {
    if (this.#text === '') return 0;
    const piece = Buffer.from(this.pieces.length === 0 ? this.description + this.#text : this.#text);
    this.#text = '';
    this.pieces.push(piece);
    return piece.length;
  }
}

/** What the serializer says instead of metrics where there are none. */
function withoutRemark(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1);
}
