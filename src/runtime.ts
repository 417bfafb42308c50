import type { MeterProvider } from '@opentelemetry/api';
import { diagnostics } from './breaker/diagnostics.js';
import { globalRegistry, type CircuitBreakerRegistry } from './breaker/registry.js';
import { startConsole } from './console/server.js';
import { readEnvironment, type Environment } from './environment.js';
import { Guard } from './guard.js';
import { RuleSet } from './rules/rule-set.js';
import { log } from './telemetry/log.js';
import { BreakerMetrics } from './telemetry/metrics.js';
import { createPrometheusPage } from './telemetry/own-exporter.js';
import { MetricsPublisher, type OwnExporter } from './telemetry/providers.js';
import { SpanEvents } from './telemetry/span-events.js';

/** The graph of everything that one process needs: its breakers, the guard before them, and their telemetry. */
export interface Runtime {
  readonly registry: CircuitBreakerRegistry;
  readonly guard: Guard;
  /** Opens a port of our own where the application brings no metrics provider. */
  publishAlone(): void;
  /** Metrics leave through this provider from now on. */
  publishTo(provider: MeterProvider): void;
  /** Takes telemetry off the registry and closes what was opened. */
  stop(): Promise<void>;
}

export function createRuntime(registry: CircuitBreakerRegistry, environment: Environment): Runtime {
  const metrics = new BreakerMetrics();
  const publisher = new MetricsPublisher(metrics);
  const events = new SpanEvents();
  const publishes = environment.metrics !== 'off';

  diagnostics.report = (message, error) => log.error(message, error);
  registry.observe({
    onAdded: (breaker) => {
      if (!publishes) return;
      metrics.add(breaker);
      publisher.start();
      publisher.look();
    },
    onRemoved: (breaker) => metrics.remove(breaker),
    onTransition: (breaker, transition, context) => events.onTransition(breaker, transition, context),
    onRejection: (breaker, rejection, enforced, context) => events.onRejection(breaker, rejection, enforced, context),
  });

  return {
    registry,
    guard: new Guard(registry, new RuleSet()),
    publishAlone: () => {
      if (publishes) publisher.start(() => openOwnExporter(environment));
    },
    publishTo: (provider) => {
      if (publishes) publisher.publishTo(provider);
    },
    stop: () => {
      registry.observe(undefined);
      return publisher.stop();
    },
  };
}

let runtime: Runtime | undefined;

/** The runtime of this process, made when it is first asked for. */
export function getRuntime(): Runtime {
  return (runtime ??= createRuntime(globalRegistry, readEnvironment()));
}

async function openOwnExporter({ prometheusHost, prometheusPort }: Environment): Promise<OwnExporter | undefined> {
  const page = createPrometheusPage();
  try {
    const server = await startConsole(prometheusHost, prometheusPort, { '/metrics': page.handler });
    log.info(`metrics at ${server.url}/metrics`);
    return {
      provider: page.provider,
      stop: async () => {
        await Promise.all([server.close(), page.stop()]);
      },
    };
  } catch (error) {
    await page.stop();
    explainPort(error as NodeJS.ErrnoException, prometheusHost, prometheusPort);
    return undefined;
  }
}

function explainPort(error: NodeJS.ErrnoException, host: string, port: number): void {
  if (error.code === 'EADDRINUSE') {
    // A forked child or a cluster worker: its parent was here first, under the same preload.
    const level = process.send === undefined ? 'warn' : 'debug';
    log[level](
      `port ${port} on ${host} is taken, perhaps by another service under this preload or by a Prometheus exporter of ` +
        'your own: metrics are not published. Set OTEL_EXPORTER_PROMETHEUS_PORT to a free port, or OTEL_BREAKER_METRICS=off',
    );
  } else log.warn(`cannot listen on ${host}:${port}: metrics are not published`, error);
}
