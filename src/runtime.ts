import { basename } from 'node:path';
import type { MeterProvider } from '@opentelemetry/api';
import type { CircuitBreaker } from './breaker/circuit-breaker.js';
import type * as Console from './console/console.js';
import type { LiveSource } from './console/event-stream.js';
import type * as Health from './console/health.js';
import type * as PastEvents from './console/history/history.js';
import type * as Redact from './console/redact.js';
import type * as Respond from './console/respond.js';
import type * as Server from './console/server.js';
import type * as SharedAnswers from './console/shared-answer.js';
import { diagnostics } from './breaker/diagnostics.js';
import { ConfigError } from './breaker/errors.js';
import { globalRegistry, type CircuitBreakerRegistry } from './breaker/registry.js';
import { readEnvironment, serviceNameOf, type Environment } from './environment.js';
import { Guard } from './guard/guard.js';
import { installOutcomes } from './outcomes/classify.js';
import { checkedSection, LiveRules } from './rules/live-rules.js';
import { Panic } from './guard/panic.js';
import type { RulesConfig } from './rules/rule.js';
import { RuleSet, type Explanation } from './rules/rule-set.js';
import { describeHangingCalls } from './telemetry/hanging-calls.js';
import { log } from './telemetry/log.js';
import { StartLine } from './telemetry/start-line.js';
import { isClusterWorker, listenToWorkers, reportToPrimary } from './telemetry/metrics/cluster.js';
import {
  BreakerMetrics,
  NOTHING_YET,
  standingOf,
  type Numbers,
  type ProcessNumbers,
  type Standing,
} from './telemetry/metrics/metrics.js';
import { createPrometheusPage, loadPrometheusPage } from './telemetry/metrics/prometheus-page.js';
import { GRACE_OF_WORKERS_MS, MetricsPublisher, type OwnExporter } from './telemetry/metrics/metrics-publisher.js';
import { createLogEvents } from './telemetry/events/log-events.js';
import { SpanCapture } from './telemetry/events/span-capture.js';
import { SpanEvents } from './telemetry/events/span-events.js';
import { logTransition } from './telemetry/events/transition-lines.js';
import { listenToThreads, reportToMainThread } from './telemetry/metrics/threads.js';
import { labelled, labelledStandings, type Report, type Reporter } from './telemetry/metrics/reports.js';

// Here, since every way into the package comes by: breakers made in code judge errors as the automatic ones do.
installOutcomes();
// The core knows no logger, and neither does what it stands on.
diagnostics.report = (message, error) => log.error(message, error);

/** The graph of everything that one process needs: its breakers, the guard before them, and their telemetry. */
export interface Runtime {
  readonly registry: CircuitBreakerRegistry;
  readonly guard: Guard;
  /** Whether panic is on: too many circuits opened at once, and none rejects. */
  readonly panic: Panic;
  /** The guard, and those that have rules of their own before those of the process. */
  readonly guards: Guard[];
  /** What the rules say of a breaker; `undefined` where none of the guards made it. */
  explain(breaker: CircuitBreaker): Explanation | undefined;
  /** The last changes of state. */
  readonly transitions: PastEvents.History['transitions'];
  /**
   * The latest traces in which breakers did something. While a console is open, the spans of any tracer provider reach
   * it; nobody has to add it to one.
   */
  readonly traces: PastEvents.History['traces'];
  /** The client spans of other instrumentations. */
  readonly spans: SpanCapture;
  readonly environment: Environment;
  /** Clients that have been patched so far, such as `ioredis`: those that were loaded and that we recognised. */
  readonly attachedClients: ReadonlySet<string>;
  /** Tells that a module of a client has been patched. */
  attached(client: string): void;
  /** Says in the log, a moment after the start, what is guarded. */
  announce(level: 'info' | 'debug'): void;
  /** The rules in force. */
  readonly rules: LiveRules;
  /** What metrics say of the breakers here and, under a label of their own, in other threads and cluster workers. */
  numbers(): Promise<Numbers>;
  /** What health is judged by: the breakers here and, under a label of their own, in other threads and cluster workers. */
  standings(): Promise<readonly Standing[]>;
  /**
   * Opens a port of our own where the application brings no metrics provider. A cluster worker leaves that to its primary,
   * where that is under the preload, too.
   */
  publishAlone(): void;
  /** Leaves metrics to the main thread, where the application brings no provider to this one. */
  publishThroughMainThread(): void;
  /** Metrics leave through this provider from now on. */
  publishTo(provider: MeterProvider): void;
  /** Takes telemetry off the registry and closes what was opened. */
  stop(): Promise<void>;
}

export function createRuntime(registry: CircuitBreakerRegistry, environment: Environment): Runtime {
  const ofProcess = (): ProcessNumbers => ({ panic: panic.isPanic, rulesReloaded: rules.reloaded });
  const metrics = new BreakerMetrics(ofProcess);
  const startLine = new StartLine();
  const publisher = new MetricsPublisher(metrics, (place) => placeMetrics(startLine, environment, place));
  const spans = new SpanCapture();
  const events = new SpanEvents(spans, {
    spans: environment.events !== 'log',
    log: environment.events === 'span' ? undefined : createLogEvents(),
  });
  let past: PastEvents.History | undefined;
  // Loaded with the first change of state, or by the console: most processes see neither.
  const history = () => (past ??= (require('./console/history/history.js') as typeof PastEvents).createHistory());
  const panic = new Panic(registry, (change, context) => {
    log.warn(
      change.active
        ? `${change.reason}: something nearer than they are must be broken. No call is rejected until it clears`
        : `${change.reason}: open circuits reject calls again`,
    );
    events.onPanic(change, context);
  });
  const publishes = environment.metrics !== 'off';
  const reporters: Reporter[] = [];
  const stops: (() => void)[] = [];
  let mainThread: ReturnType<typeof reportToMainThread> | undefined;

  registry.observe({
    onAdded: (breaker) => {
      spans.watch();
      breaker.timeCalls();
      panic.watch(breaker);
      if (!publishes) return;
      metrics.add(breaker);
      publisher.start();
      publisher.look();
      mainThread?.begin();
    },
    onRemoved: (breaker) => {
      panic.forget(breaker);
      metrics.remove(breaker);
    },
    onFailure: (breaker, context) => events.onFailure(breaker, context),
    onHangingCalls: (breaker, calls) => log.warn(describeHangingCalls(breaker, calls)),
    onProbe: (breaker, context) => events.onProbe(breaker, context),
    onTransition: (breaker, transition, context) => {
      const span = events.onTransition(breaker, transition, context);
      logTransition(breaker, transition, span);
      panic.onTransition(breaker, transition, context);
      if (environment.console !== 'off') history().transitions.record(breaker, transition, span);
    },
    onRejection: (breaker, rejection, enforced, context) => events.onRejection(breaker, rejection, enforced, context),
  });

  const guard = new Guard(registry, new RuleSet());
  const guards = [guard];
  const explain = (breaker: CircuitBreaker) => {
    for (const each of guards) {
      const explanation = each.explain(breaker);
      if (explanation !== undefined) return explanation;
    }
    return undefined;
  };
  const rules = new LiveRules(environment, {
    onReload: ({ origin }) => log.info(`new rules from ${origin} are in force`),
    onBadReload: (error) =>
      log.error('the rules file has changed and cannot be taken; the rules before stay in force', error),
    onWatchFailed: (error) =>
      log.warn('the system cannot tell of changes to the rules file; it is looked at every five seconds', error),
    onRestless: () => log.warn('the rules file is being written all the time; it is read once it rests'),
  });
  rules.use((ruleSet) => {
    guard.useRules(ruleSet);
    panic.threshold = ruleSet.panicThreshold;
  });

  /** Whether the application brings no provider that metrics would leave through. */
  function isOnOurOwn(): boolean {
    publisher.look();
    return !publisher.hasProvider;
  }

  /** What leaves through nobody else. */
  const ownNumbers = () =>
    isOnOurOwn()
      ? { breakers: metrics.numbers(), process: ofProcess() }
      : { breakers: [], process: NOTHING_YET, standings: Array.from(registry, standingOf) };

  async function reports(): Promise<Report[]> {
    return (await Promise.all(reporters.map((reporter) => reporter.reports()))).flat();
  }

  async function numbers(): Promise<Numbers> {
    const { breakers, processes } = labelled(await reports());
    return {
      breakers: [...metrics.numbers(), ...breakers],
      processes: [{ labels: {}, ...ofProcess() }, ...processes],
    };
  }

  async function standings(): Promise<Standing[]> {
    const own = Array.from(registry, standingOf);
    return [...own, ...labelledStandings(await reports())];
  }

  return {
    registry,
    guard,
    guards,
    explain,
    spans,
    environment,
    rules,
    panic,
    attachedClients: startLine.clients,
    attached: (client) => startLine.attached(client),
    announce: (level) => {
      const { file } = rules;
      if (!publishes) startLine.place('metrics', 'metrics off');
      const mode = environment.mode ?? file?.config.mode ?? 'enforce';
      startLine.print({ mode, rules: file?.origin, underNext: environment.underNext, level });
    },
    get transitions() {
      return history().transitions;
    },
    get traces() {
      return history().traces;
    },
    numbers,
    standings,
    publishAlone: () => {
      if (!publishes || reporters.length > 0) return;
      startLine.await('metrics');
      const inCluster = isClusterWorker();
      reporters.push(listenToThreads());
      if (!inCluster) reporters.push(listenToWorkers(isOnOurOwn));
      stops.push(...reporters.map((reporter) => () => reporter.stop()));
      const { clients: attachedClients } = startLine;
      const own = () =>
        openOwnExporter(environment, {
          registry,
          panic,
          rules,
          ...history(),
          spans,
          numbers,
          standings,
          explain,
          attachedClients,
        });
      publisher.start(own, inCluster ? GRACE_OF_WORKERS_MS : undefined);
      if (!inCluster) return;
      const tell = async () => [{ worker: '', ...ownNumbers() }, ...(await reports())];
      const onWelcome = () => {
        startLine.place('metrics', 'metrics through the primary', 'debug');
        publisher.yield();
      };
      stops.push(reportToPrimary(tell, onWelcome));
    },
    publishThroughMainThread: () => {
      if (!publishes || mainThread !== undefined) return;
      startLine.place('metrics', 'metrics through the main thread');
      mainThread = reportToMainThread(ownNumbers);
      stops.push(() => mainThread?.stop());
    },
    publishTo: (provider) => {
      if (publishes) publisher.publishTo(provider);
    },
    stop: () => {
      registry.observe(undefined);
      spans.stop();
      rules.stop();
      for (const stop of stops.splice(0)) stop();
      return publisher.stop();
    },
  };
}

/** Says in the start line where metrics leave. */
function placeMetrics(line: StartLine, environment: Environment, place: OwnExporter | 'provider' | 'nowhere'): void {
  const hasConsole = environment.console !== 'off';
  if (place === 'provider') {
    const hint = hasConsole ? ' (no console: OTEL_BREAKER_CONSOLE_PORT opens one)' : '';
    line.place('metrics', `metrics through the provider of the application${hint}`);
  } else if (place === 'nowhere') {
    // A forked child: its parent was here first, under the same preload.
    line.place('metrics', 'metrics are not published', process.send === undefined ? undefined : 'debug');
  } else {
    line.place('metrics', `metrics at ${place.url}/metrics${hasConsole ? ` (console at ${place.url}/)` : ''}`);
  }
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
export function getGuard(
  owner: string,
  { mode, defaults, rules, maxBreakers, panicThreshold }: RulesConfig = {},
): Guard {
  const runtime = getRuntime();
  loadRules(runtime);
  if (panicThreshold !== undefined) {
    const consequence = 'it is about all targets of the process together, and would have no effect here';
    const allowed = 'Put it into the rules file, or give it to configure().';
    throw new ConfigError(owner, [{ path: 'panicThreshold', value: panicThreshold, consequence, allowed }]);
  }
  const given = Object.entries({ mode, defaults, rules, maxBreakers }).filter(([, value]) => value !== undefined);
  if (given.length === 0) return runtime.guard;
  const own = checkedSection(owner, Object.fromEntries(given));
  const guard = new Guard(runtime.registry, new RuleSet());
  runtime.guards.push(guard);
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
  source: LiveSource & Pick<Runtime, 'numbers' | 'standings' | 'rules' | 'spans' | 'explain' | 'attachedClients'>,
): Promise<(OwnExporter & { readonly url: string }) | undefined> {
  const { prometheusHost, prometheusPort, adminToken, health } = environment;
  await loadPrometheusPage();
  const page = createPrometheusPage(source.numbers);
  // Loaded where it is used: most services bring an exporter of their own, and nobody may ever look at the console.
  const { startConsole } = require('./console/server.js') as typeof Server;
  const { sendShared } = require('./console/respond.js') as typeof Respond;
  const { SharedAnswer } = require('./console/shared-answer.js') as typeof SharedAnswers;
  const metrics = new SharedAnswer(() => page.write());
  try {
    const server = await startConsole({
      host: prometheusHost,
      port: prometheusPort,
      reach: environment.console,
      hosts: environment.consoleHosts,
      metrics: (_, response) => sendShared(response, 'The page of metrics', page.contentType, metrics),
      health: () => {
        const { HealthAnswers } = require('./console/health.js') as typeof Health;
        return new HealthAnswers(health, source);
      },
      open: () => {
        const { createConsole } = require('./console/console.js') as typeof Console;
        const { redacted } = require('./console/redact.js') as typeof Redact;
        const traces = environment.tracesRedact ? redacted(source.traces) : source.traces;
        return createConsole({ ...source, traces, service: serviceName(), adminToken });
      },
    });
    const unfeed = environment.console === 'off' ? undefined : source.spans.feed(source.traces);
    return {
      url: server.url,
      stop: async () => {
        unfeed?.();
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
  return serviceNameOf() ?? basename(process.argv[1] ?? process.title);
}

function explainPort(error: NodeJS.ErrnoException, host: string, port: number): void {
  if (error.code === 'EADDRINUSE') {
    // A forked child: its parent was here first, under the same preload.
    const level = process.send === undefined ? 'warn' : 'debug';
    log[level](
      `port ${port} on ${host} is taken, perhaps by another service under this preload or by a Prometheus exporter of ` +
        'your own: metrics are not published. Set OTEL_EXPORTER_PROMETHEUS_PORT to a free port, or OTEL_BREAKER_METRICS=off',
    );
  } else log.warn(`cannot listen on ${host}:${port}: metrics are not published`, error);
}
