import { ValueType, type HrTime } from '@opentelemetry/api';
import type * as Sdk from '@opentelemetry/sdk-metrics';
import type { DataPoint, MetricData, MetricProducer } from '@opentelemetry/sdk-metrics';
import { PACKAGE } from '../version.js';
import type { Histogram } from './durations.js';
import { DURATION, OBSERVED, type BreakerMetrics } from './metrics.js';

const startTime = toHrTime(performance.timeOrigin);

/**
 * Hands the seven metrics to a reader of our own as the breakers have them. Instruments would sort and hash the labels of
 * every series at each scrape, take durations one call at a time, and count series beyond a limit together as one.
 */
export function createProducer(metrics: BreakerMetrics, sdk: typeof Sdk): MetricProducer {
  const scope = { name: PACKAGE.name, version: PACKAGE.version };
  // A reader takes the resource of its provider.
  const resource = undefined as never;
  return {
    collect: () => {
      const produced = collect(metrics, sdk).filter(({ dataPoints }) => dataPoints.length > 0);
      return Promise.resolve({
        resourceMetrics: { resource, scopeMetrics: [{ scope, metrics: produced }] },
        errors: [],
      });
    },
  };
}

function collect(metrics: BreakerMetrics, { AggregationTemporality, DataPointType }: typeof Sdk): MetricData[] {
  const endTime = toHrTime(Date.now());
  const at = { startTime, endTime };
  const values = OBSERVED.map((): DataPoint<number>[] => []);
  const histograms: DataPoint<Histogram>[] = [];
  metrics.forEach((breaker, labels, durations) => {
    OBSERVED.forEach(({ observe }, index) => {
      observe(breaker, labels, (value, attributes) => values[index]!.push({ ...at, attributes, value }));
    });
    const value = durations.histogram();
    if (value !== undefined) histograms.push({ ...at, attributes: labels, value });
  });

  const aggregationTemporality = AggregationTemporality.CUMULATIVE;
  return [
    ...OBSERVED.map(({ name, kind, description }, index): MetricData => {
      const dataPoints = values[index]!;
      const descriptor = { name, description, unit: '', valueType: ValueType.DOUBLE };
      return kind === 'gauge'
        ? { descriptor, aggregationTemporality, dataPointType: DataPointType.GAUGE, dataPoints }
        : { descriptor, aggregationTemporality, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
    }),
    {
      descriptor: { ...DURATION, valueType: ValueType.DOUBLE },
      aggregationTemporality,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints: histograms,
    },
  ];
}

function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.round((ms - seconds * 1_000) * 1e6)];
}
