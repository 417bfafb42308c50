import { basename } from 'node:path';
import type { MeterProvider } from '@opentelemetry/api';
import type * as Console from './console/console.js';
import type { LiveSource } from './console/live.js';
import type * as Server from './console/server.js';
import { diagnostics } from './breaker/diagnostics.js';
import { globalRegistry, type CircuitBreakerRegistry } from './breaker/registry.js';
import { readEnvironment, type Environment } from './environment.js';
import { Guard } from './guard.js';
import { RuleSet } from './rules/rule-set.js';
import { log } from './telemetry/log.js';
import { BreakerMetrics } from './telemetry/metrics.js';
import { createPrometheusPage } from './telemetry/own-exporter.js';
import { MetricsPublisher, type OwnExporter } from './telemetry/providers.js';
import { SpanEvents } from './telemetry/span-events.js';
import { createTraceRing, type TraceRing } from './telemetry/trace-ring.js';
import { TransitionLog } from './telemetry/transition-log.js';

/** The graph of everything that one process needs: its breakers, the guard before them, and their telemetry. */
export interface Runtime {
  readonly registry: CircuitBreakerRegistry;
  readonly guard: Guard;
  /** The last changes of state. */
  readonly transitions: TransitionLog;
  /** The latest traces in which breakers did something: a span processor, to be added where a tracer provider is made. */
  readonly traces: TraceRing;
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
  const transitions = new TransitionLog();
  const traces = createTraceRing();
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
    onTransition: (breaker, transition, context) =>
      transitions.record(breaker, transition, events.onTransition(breaker, transition, context)),
    onRejection: (breaker, rejection, enforced, context) => events.onRejection(breaker, rejection, enforced, context),
  });

  return {
    registry,
    guard: new Guard(registry, new RuleSet()),
    transitions,
    traces,
    publishAlone: () => {
      if (publishes) publisher.start(() => openOwnExporter(environment, { registry, transitions, traces }));
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

/** Opens the port of the preload: metrics and, behind them, the console. @internal */
export async function openOwnExporter(
  environment: Environment,
  source: LiveSource,
): Promise<(OwnExporter & { readonly url: string }) | undefined> {
  const { prometheusHost, prometheusPort, adminToken, health } = environment;
  const page = createPrometheusPage();
  // Loaded where it is used: most services bring an exporter of their own, and nobody may ever look at the console.
  const { startConsole } = require('./console/server.js') as typeof Server;
  try {
    const server = await startConsole({
      host: prometheusHost,
      port: prometheusPort,
      reach: environment.console,
      hosts: environment.consoleHosts,
      metrics: page.handler,
      open: () => {
        const { createConsole } = require('./console/console.js') as typeof Console;
        return createConsole({ ...source, service: serviceName(), adminToken, health });
      },
    });
    log.info(`metrics at ${server.url}/metrics${environment.console === 'off' ? '' : ` (console at ${server.url}/)`}`);
    return {
      url: server.url,
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

function serviceName(): string {
  return process.env.OTEL_SERVICE_NAME || basename(process.argv[1] ?? process.title);
}

function explainPort(error: NodeJS.ErrnoException, host: string, port: number): void {
  if (error.code === 'EADDRINUSE') {
    log.warn(
      `port ${port} on ${host} is taken, perhaps by another service under this preload or by a Prometheus exporter of ` +
        'your own: metrics are not published. Set OTEL_EXPORTER_PROMETHEUS_PORT to a free port, or OTEL_BREAKER_METRICS=off',
    );
  } else log.warn(`cannot listen on ${host}:${port}: metrics are not published`, error);
}
