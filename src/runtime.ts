import { basename } from 'node:path';
import type { MeterProvider } from '@opentelemetry/api';
import type * as Console from './console/console.js';
import type { LiveSource } from './console/live.js';
import type * as Server from './console/server.js';
import { diagnostics } from './breaker/diagnostics.js';
import { globalRegistry, type CircuitBreakerRegistry } from './breaker/registry.js';
import { readEnvironment, type Environment } from './environment.js';
import { Guard } from './guard.js';
import { checkedSection, LiveRules } from './rules/live-rules.js';
import type { RulesConfig } from './rules/rule.js';
import { RuleSet } from './rules/rule-set.js';
import { log } from './telemetry/log.js';
import { BreakerMetrics } from './telemetry/metrics.js';
import { createPrometheusPage } from './telemetry/own-exporter.js';
import { MetricsPublisher, type OwnExporter } from './telemetry/providers.js';
import { createLogEvents } from './telemetry/log-events.js';
import { SpanCapture } from './telemetry/span-capture.js';
import { SpanEvents } from './telemetry/span-events.js';
import { createTraceRing, type TraceRing } from './telemetry/trace-ring.js';
import { TransitionLog } from './telemetry/transition-log.js';

/** The graph of everything that one process needs: its breakers, the guard before them, and their telemetry. */
export interface Runtime {
  readonly registry: CircuitBreakerRegistry;
  readonly metrics: BreakerMetrics;
  readonly guard: Guard;
  /** The last changes of state. */
  readonly transitions: TransitionLog;
  /** The latest traces in which breakers did something: a span processor, to be added where a tracer provider is made. */
  readonly traces: TraceRing;
  /** The client spans of other instrumentations. */
  readonly spans: SpanCapture;
  readonly environment: Environment;
  /** The rules in force. */
  readonly rules: LiveRules;
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
  const spans = new SpanCapture();
  const events = new SpanEvents(spans, {
    spans: environment.events !== 'log',
    log: environment.events === 'span' ? undefined : createLogEvents(),
  });
  const transitions = new TransitionLog();
  const traces = createTraceRing();
  const publishes = environment.metrics !== 'off';

  diagnostics.report = (message, error) => log.error(message, error);
  registry.observe({
    onAdded: (breaker) => {
      spans.watch();
      if (!publishes) return;
      metrics.add(breaker);
      publisher.start();
      publisher.look();
    },
    onRemoved: (breaker) => metrics.remove(breaker),
    onFailure: (breaker, context) => events.onFailure(breaker, context),
    onProbe: (breaker, context) => events.onProbe(breaker, context),
    onTransition: (breaker, transition, context) =>
      transitions.record(breaker, transition, events.onTransition(breaker, transition, context)),
    onRejection: (breaker, rejection, enforced, context) => events.onRejection(breaker, rejection, enforced, context),
  });

  const guard = new Guard(registry, new RuleSet());
  const rules = new LiveRules(environment, {
    onReload: ({ origin }) => log.info(`new rules from ${origin} are in force`),
    onBadReload: (error) =>
      log.error('the rules file has changed and cannot be taken; the rules before stay in force', error),
    onWatchFailed: (error) => log.warn('the rules file cannot be watched; changes need a restart', error),
  });
  rules.use((ruleSet) => guard.useRules(ruleSet));

  return {
    registry,
    metrics,
    guard,
    spans,
    environment,
    rules,
    transitions,
    traces,
    publishAlone: () => {
      if (publishes) publisher.start(() => openOwnExporter(environment, { registry, metrics, transitions, traces }));
    },
    publishTo: (provider) => {
      if (publishes) publisher.publishTo(provider);
    },
    stop: () => {
      registry.observe(undefined);
      spans.stop();
      rules.stop();
      return publisher.stop();
    },
  };
}

let runtime: Runtime | undefined;

/** The runtime of this process, made when it is first asked for. */
export function getRuntime(): Runtime {
  return (runtime ??= createRuntime(globalRegistry, readEnvironment()));
}

/**
 * Reads the rules file, the first time it is called.
 *
 * @throws ConfigError where it is bad, unless OTEL_BREAKER_CONFIG_STRICT is false
 */
export function loadRules({ rules, environment }: Runtime): void {
  try {
    rules.load();
  } catch (error) {
    if (environment.configStrict) throw error;
    log.error('the built-in defaults are in force, since the rules file cannot be taken', error);
  }
}

/**
 * The guard of this process, under the rules of its file; or one with rules of its own before those.
 *
 * @param owner whose rules they are, for errors
 * @throws ConfigError naming everything that is wrong with the rules, or with the rules file
 */
export function getGuard(owner: string, { mode, defaults, rules, maxBreakers }: RulesConfig = {}): Guard {
  const runtime = getRuntime();
  loadRules(runtime);
  const given = Object.entries({ mode, defaults, rules, maxBreakers }).filter(([, value]) => value !== undefined);
  if (given.length === 0) return runtime.guard;
  const own = checkedSection(owner, Object.fromEntries(given));
  const guard = new Guard(runtime.registry, new RuleSet());
  runtime.rules.use((ruleSet) => guard.useRules(ruleSet), own);
  return guard;
}

/**
 * Gives rules in code, for the whole process: they come before those of the rules file and replace those of the last
 * call. Breakers that exist already take their new options and keep their state.
 *
 * @throws ConfigError with every problem that they have; then nothing changes
 */
export function configure(config: RulesConfig): void {
  getRuntime().rules.configure(config);
}

/** Opens the port of the preload: metrics and, behind them, the console. @internal */
export async function openOwnExporter(
  environment: Environment,
  { metrics, ...source }: LiveSource & { readonly metrics: BreakerMetrics },
): Promise<(OwnExporter & { readonly url: string }) | undefined> {
  const { prometheusHost, prometheusPort, adminToken, health } = environment;
  const page = createPrometheusPage(metrics);
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
    // A forked child or a cluster worker: its parent was here first, under the same preload.
    const level = process.send === undefined ? 'warn' : 'debug';
    log[level](
      `port ${port} on ${host} is taken, perhaps by another service under this preload or by a Prometheus exporter of ` +
        'your own: metrics are not published. Set OTEL_EXPORTER_PROMETHEUS_PORT to a free port, or OTEL_BREAKER_METRICS=off',
    );
  } else log.warn(`cannot listen on ${host}:${port}: metrics are not published`, error);
}
