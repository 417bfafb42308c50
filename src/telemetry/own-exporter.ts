import type { IncomingMessage, ServerResponse } from 'node:http';
import { createProducer } from './metric-producer.js';
import type { BreakerMetrics } from './metrics.js';

/** The page that scrapers read where the application has no exporter. */
export interface PrometheusPage {
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  stop(): Promise<void>;
}

/** Loads OpenTelemetry's metrics SDK and its Prometheus exporter, which a service with a provider of its own never needs from us. */
export function createPrometheusPage(metrics: BreakerMetrics): PrometheusPage {
  const sdk = require('@opentelemetry/sdk-metrics') as typeof import('@opentelemetry/sdk-metrics');
  const { PrometheusExporter } =
    require('@opentelemetry/exporter-prometheus') as typeof import('@opentelemetry/exporter-prometheus');
  const exporter = new PrometheusExporter({
    preventServerStart: true,
    metricProducers: [createProducer(metrics, sdk)],
  });
  const provider = new sdk.MeterProvider({ readers: [exporter] });
  return {
    handler: (request, response) => exporter.getMetricsRequestHandler(request, response),
    stop: () => provider.shutdown(),
  };
}
