import type { IncomingMessage, ServerResponse } from 'node:http';
import { ValueType } from '@opentelemetry/api';
import type { DataPoint, MetricData, MetricProducer } from '@opentelemetry/sdk-metrics';
import { PACKAGE } from '../../version.js';
import { DURATION_BOUNDS } from './durations.js';
import { DURATION, OBSERVED, type BreakerNumbers } from './metrics.js';

/** What scrapers read. */
export interface PrometheusPage {
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  stop(): Promise<void>;
}

/**
 * Loads OpenTelemetry's metrics SDK and its Prometheus exporter, which a service with a provider of its own never needs
 * from us.
 *
 * The exporter is given finished metrics, not instruments: those would keep every series for ever, of breakers that were
 * evicted and of workers that have ended, and a histogram takes its values one by one.
 *
 * @param read the numbers of the moment
 */
export function createPrometheusPage(read: () => Promise<readonly BreakerNumbers[]>): PrometheusPage {
  const { AggregationTemporality, DataPointType, MeterProvider } =
    require('@opentelemetry/sdk-metrics') as typeof import('@opentelemetry/sdk-metrics');
  const { PrometheusExporter } =
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

  const producer: MetricProducer = {
    collect: async () => {
      const metrics = metricsOf(await read());
      const scopeMetrics = [{ scope: { name: PACKAGE.name, version: PACKAGE.version }, metrics }];
      // The reader takes the resource of its provider.
      return { resourceMetrics: { resource: undefined as never, scopeMetrics }, errors: [] };
    },
  };
  const exporter = new PrometheusExporter({ preventServerStart: true, metricProducers: [producer] });
  const provider = new MeterProvider({ readers: [exporter] });
  return {
    handler: (request, response) => exporter.getMetricsRequestHandler(request, response),
    stop: () => provider.shutdown(),
  };
}
