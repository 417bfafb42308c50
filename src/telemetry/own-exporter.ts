import type { IncomingMessage, ServerResponse } from 'node:http';
import type { MeterProvider } from '@opentelemetry/api';

/** A provider of our own and the page that scrapers read from it. */
export interface PrometheusPage {
  readonly provider: MeterProvider;
  readonly handler: (request: IncomingMessage, response: ServerResponse) => void;
  stop(): Promise<void>;
}

// The SDK counts series over its limit of 2,000 together as one; a service with 1,000 breakers has more than that.
const MAX_SERIES = 20_000;

/** Loads OpenTelemetry's metrics SDK and its Prometheus exporter, which a service with a provider of its own never needs from us. */
export function createPrometheusPage(): PrometheusPage {
  const { MeterProvider } = require('@opentelemetry/sdk-metrics') as typeof import('@opentelemetry/sdk-metrics');
  const { PrometheusExporter } =
    require('@opentelemetry/exporter-prometheus') as typeof import('@opentelemetry/exporter-prometheus');
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const provider = new MeterProvider({
    readers: [exporter],
    views: [{ instrumentName: '*', aggregationCardinalityLimit: MAX_SERIES }],
  });
  return {
    provider,
    handler: (request, response) => exporter.getMetricsRequestHandler(request, response),
    stop: () => provider.shutdown(),
  };
}
