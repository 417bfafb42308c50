import { basename } from 'node:path';
import type { MeterProvider } from '@opentelemetry/api';
import type { CircuitBreaker } from './breaker/circuit-breaker.js';
import type * as Console from './console/console.js';
import type * as Health from './console/health.js';
import type * as PastEvents from './console/history/history.js';
import type { Workers } from './console/overview.js';
import type * as Respond from './console/respond.js';
import type * as Server from './console/server.js';
import type * as Fleets from './fleet/fleet.js';
import type * as Pieces from './telemetry/load-in-pieces.js';
import type * as SharedAnswers from './console/shared-answer.js';
import type * as ThreadConsoles from './console/thread-console.js';
import { classification } from './breaker/classification.js';
import { diagnostics } from './breaker/diagnostics.js';
import { ConfigError } from './breaker/errors.js';
import { globalRegistry, type CircuitBreakerRegistry } from './breaker/registry.js';
import { readEnvironment, serviceNameOf, type Environment } from './environment.js';
import { Guard } from './guard/guard.js';
import type { FleetConfig } from './rules/rule.js';
import { LatePort, type Port } from './telemetry/late-port.js';
import { installOutcomes } from './outcomes/classify.js';
import { checkedSection, LiveRules } from './rules/live-rules.js';
import { Panic } from './guard/panic.js';
import type { RulesConfig } from './rules/rule.js';
import { RuleSet, withBases, type Explanation } from './rules/rule-set.js';
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
import type * as Page from './telemetry/metrics/prometheus-page.js';
import { GRACE_OF_WORKERS_MS, MetricsPublisher, type OwnExporter } from './telemetry/metrics/metrics-publisher.js';
import { describeCall } from './telemetry/events/call-context.js';
import type * as LogEvents from './telemetry/events/log-events.js';
import { SpanCapture } from './telemetry/events/span-capture.js';
import { SpanEvents } from './telemetry/events/span-events.js';
import { logTransition } from './telemetry/events/transition-lines.js';
import { listenToThreads, reportToMainThread } from './telemetry/metrics/threads.js';
import {
  labelled,
  labelledStandings,
  type Report,
  type Reporter,
  type Respondent,
} from './telemetry/metrics/reports.js';

// Here, since every way into the package comes by: breakers made in code judge errors as the automatic ones do.
installOutcomes();
classification.describeCall = describeCall;
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
  /**
   * What the console shows. While there is one, the spans of any tracer provider reach it; nobody has to add it to one.
   */
  readonly console: Console.ConsoleParts;
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
  /**
   * Becomes a part of the fleet that the rules and the environment name, or of none, now and whenever they change.
   *
   * @throws ConfigError where what they say cannot be a fleet
   */
  joinFleet(): void;
  /** The fleet that this process is a part of. */
  readonly fleet: Fleets.Fleet | undefined;
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
  const ofProcess = (): ProcessNumbers => ({
    panic: panic.isPanic,
    rulesReloaded: rules.reloaded,
    fleet: fleet?.numbers,
  });
  const metrics = new BreakerMetrics(ofProcess, (breaker) => events.lastFailure(breaker));
  const startLine = new StartLine();
  const publisher = new MetricsPublisher(metrics, (place) => placeMetrics(startLine, environment, place));
  const spans = new SpanCapture();
  const sinks = {
    spans: environment.events !== 'log',
    log:
      environment.events === 'span'
        ? undefined
        : (require('./telemetry/events/log-events.js') as typeof LogEvents).createLogEvents(),
  };
  const events = new SpanEvents(spans, sinks, (breaker) => fleet?.viewOf(breaker));
  const hasConsolePort = environment.consolePort !== undefined && environment.console !== 'off';
  const consolePort = new LatePort('the console');
  let past: PastEvents.History | undefined;
  // Loaded with the first change of state, or by the console: most processes see neither.
  const history = () => (past ??= (require('./console/history/history.js') as typeof PastEvents).createHistory());
  const panic = new Panic(registry, (change, context) => {
    log.warn(
      change.active
        ? `panic: ${change.reason}: something nearer than they are must be broken. No call is rejected until it clears`
        : `panic is over: ${change.reason}: open circuits reject calls again`,
    );
    events.onPanic(change, context);
  });
  const publishes = environment.metrics !== 'off';
  // Durations are shown there as well.
  const counts = publishes || hasConsolePort;
  const reporters: Reporter[] = [];
  const stops: (() => void)[] = [];
  let mainThread: ReturnType<typeof reportToMainThread> | undefined;

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
  let fleet: Fleets.Fleet | undefined;
  let fleetConfig: FleetConfig | undefined;
  let mayJoin = false;

  function joinFleet(): void {
    mayJoin = true;
    if (fleetConfig === undefined && environment.fleetUrl === undefined) {
      fleet?.stop();
      fleet = undefined;
      return;
    }
    const { Fleet, resolveFleet } = require('./fleet/fleet.js') as typeof Fleets;
    const settings = resolveFleet(fleetConfig, environment, serviceNameOf());
    if (settings !== undefined && fleet?.update(settings)) return;
    fleet?.stop();
    fleet = settings && Fleet.start({ breakers: registry, traceOf: (breaker) => events.traceOf(breaker) }, settings);
  }

  rules.use((ruleSet) => {
    guard.useRules(ruleSet);
    panic.threshold = ruleSet.panicThreshold;
    fleetConfig = ruleSet.fleet;
    if (!mayJoin) return;
    try {
      joinFleet();
    } catch (error) {
      log.error('the fleet stays as it was: what the rules say cannot be one', error);
    }
  });
  stops.push(() => fleet?.stop());

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

  const workers: Workers = {
    ask: async (question, only) => (await Promise.all(reporters.map((each) => each.ask(question, only)))).flat(),
    get size() {
      return reporters.reduce((all, { size }) => all + size, 0);
    },
    announce: (news) => {
      for (const reporter of reporters) reporter.announce(news);
    },
  };
  let parts: Console.ConsoleParts | undefined;
  function consoleParts(): Console.ConsoleParts {
    if (parts !== undefined) return parts;
    const { ThreadConsole } = require('./console/thread-console.js') as typeof ThreadConsoles;
    const source: ThreadConsoles.ThreadSource = {
      registry,
      panic,
      history: history(),
      spans,
      redact: environment.tracesRedact,
      durationsOf: (breaker) => metrics.durationsOf(breaker),
      explain,
      rules,
      fleetOf: (breaker) => fleet?.standingOf(breaker),
    };
    const own = new ThreadConsole(source);
    stops.push(() => own.stop());
    return (parts = { source, own, workers });
  }

  /** This thread's answer to the console; none where it cannot be given. */
  function answerConsole(question: unknown): unknown {
    try {
      return consoleParts().own.answer(question as ThreadConsoles.Question);
    } catch (error) {
      log.warn('the console gets no answer from this thread', error);
      return undefined;
    }
  }

  /** Somebody else shows what there is here: a console of our own would be another one. */
  function watchForConsole(news: unknown): void {
    consolePort.yield();
    consoleParts().own.watch();
    workers.announce(news);
  }

  // Last: of breakers that are there already, it hears at once.
  registry.observe({
    onAdded: (breaker) => {
      spans.watch();
      breaker.timeCalls();
      panic.watch(breaker);
      fleet?.watch(breaker);
      if (!counts) return;
      metrics.add(breaker);
      if (publishes) {
        publisher.start();
        publisher.look();
      }
      mainThread?.begin();
    },
    onRemoved: (breaker) => {
      panic.forget(breaker);
      fleet?.forget(breaker);
      metrics.remove(breaker);
    },
    onFailure: (breaker, context) => {
      events.onFailure(breaker, context);
      fleet?.onFailure(breaker);
    },
    onProbeSuccess: (breaker) => fleet?.onProbeSuccess(breaker),
    onHangingCalls: (breaker, calls) => log.warn(describeHangingCalls(breaker, calls)),
    onProbe: (breaker, context) => events.onProbe(breaker, context),
    onTransition: (breaker, transition, context) => {
      const span = events.onTransition(breaker, transition, context);
      logTransition(breaker, transition, span);
      panic.onTransition(breaker, transition, context);
      fleet?.onTransition(breaker, transition);
      if (environment.console !== 'off') history().transitions.record(breaker, transition, span);
    },
    onRejection: (breaker, rejection, enforced, context) => events.onRejection(breaker, rejection, enforced, context),
  });

  return {
    registry,
    guard,
    guards,
    explain,
    spans,
    environment,
    rules,
    joinFleet,
    get fleet() {
      return fleet;
    },
    panic,
    attachedClients: startLine.clients,
    attached: (client) => startLine.attached(client),
    announce: (level) => {
      const { file } = rules;
      if (!publishes) startLine.place('metrics', 'metrics off');
      const mode =
        environment.mode ?? (file && withBases([file]).find(({ config }) => config.mode)?.config.mode) ?? 'enforce';
      startLine.print({ mode, rules: file?.origin, underNext: environment.underNext, level });
    },
    get console() {
      return consoleParts();
    },
    numbers,
    standings,
    publishAlone: () => {
      if (!counts || reporters.length > 0) return;
      if (publishes) startLine.await('metrics');
      if (hasConsolePort) startLine.await('console');
      const inCluster = isClusterWorker();
      reporters.push(listenToThreads());
      if (!inCluster) reporters.push(listenToWorkers(isOnOurOwn));
      stops.push(...reporters.map((reporter) => () => reporter.stop()));
      const grace = inCluster ? GRACE_OF_WORKERS_MS : undefined;
      const source = () => ({
        // Made when it is asked for: the turn of the event loop in which a port begins to open has enough to do.
        get console() {
          return consoleParts();
        },
        panic,
        rules,
        numbers,
        standings,
        attachedClients: startLine.clients,
      });
      if (publishes) publisher.start(() => openOwnExporter(environment, source(), () => publisher.yield()), grace);
      if (hasConsolePort) {
        const open = async () => {
          const port = await openConsole(environment, source(), () => consolePort.yield());
          startLine.place('console', port === undefined ? 'no console' : `console at ${port.url}/`);
          return port;
        };
        consolePort.start(open, grace);
      }
      if (!inCluster) return;
      const tell = async () => [{ worker: '', ...ownNumbers() }, ...(await reports())];
      const onWelcome = () => {
        startLine.place('metrics', 'metrics through the primary', 'debug');
        publisher.yield();
      };
      const answer: Respondent['answer'] = async (question, only) => {
        const own = (only ?? '') === '' ? [{ worker: '', answer: answerConsole(question) }] : [];
        return only === '' ? own : [...own, ...(await workers.ask(question as ThreadConsoles.Question, only))];
      };
      const hear = (news: unknown) => {
        if (hasConsolePort) startLine.place('console', 'console through the primary', 'debug');
        watchForConsole(news);
      };
      stops.push(reportToPrimary(tell, onWelcome, { answer, hear }));
    },
    publishThroughMainThread: () => {
      if (!counts || mainThread !== undefined) return;
      if (publishes) startLine.place('metrics', 'metrics through the main thread');
      mainThread = reportToMainThread(ownNumbers, { answer: answerConsole, hear: watchForConsole });
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
      return Promise.all([publisher.stop(), consolePort.stop()]).then(() => {});
    },
  };
}

/** Says in the start line where metrics leave. */
function placeMetrics(line: StartLine, environment: Environment, place: OwnExporter | 'provider' | 'nowhere'): void {
  const hasConsole = environment.console !== 'off' && environment.consolePort === undefined;
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
export function loadRules(runtime: Runtime): void {
  const { rules, environment } = runtime;
  try {
    rules.load();
    runtime.joinFleet();
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
  { mode, defaults, rules, presets, maxBreakers, panicThreshold }: RulesConfig = {},
): Guard {
  const runtime = getRuntime();
  loadRules(runtime);
  if (panicThreshold !== undefined) {
    const consequence = 'it is about all targets of the process together, and would have no effect here';
    const allowed = 'Put it into the rules file, or give it to configure().';
    throw new ConfigError(owner, [{ path: 'panicThreshold', value: panicThreshold, consequence, allowed }]);
  }
  const given = Object.entries({ mode, defaults, rules, presets, maxBreakers }).filter(
    ([, value]) => value !== undefined,
  );
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
  const runtime = getRuntime();
  runtime.rules.configure(config);
  if (config.fleet !== undefined) runtime.joinFleet();
}

type PortSource = Pick<Runtime, 'console' | 'panic' | 'rules' | 'numbers' | 'standings' | 'attachedClients'>;

/**
 * Opens the port of the preload: metrics and, behind them, the console.
 *
 * @internal
 * @param onGivenUp the application listens there itself now
 */
export async function openOwnExporter(
  environment: Environment,
  source: PortSource,
  onGivenUp: () => void,
): Promise<(OwnExporter & { readonly url: string }) | undefined> {
  const { prometheusHost, prometheusPort } = environment;
  const { CONTENT_TYPES, createPrometheusPage, formatFor, loadPrometheusPage } =
    require('./telemetry/metrics/prometheus-page.js') as typeof Page;
  const { nextTurn } = require('./telemetry/load-in-pieces.js') as typeof Pieces;
  await loadPrometheusPage();
  await nextTurn();
  const page = createPrometheusPage(source.numbers);
  await nextTurn();
  const { sendShared } = require('./console/respond.js') as typeof Respond;
  const { SharedAnswer } = require('./console/shared-answer.js') as typeof SharedAnswers;
  const texts = {
    prometheus: new SharedAnswer(() => page.write('prometheus')),
    openMetrics: new SharedAnswer(() => page.write('openMetrics')),
  };
  const consoleIsAt = environment.console === 'off' ? undefined : environment.consolePort;
  try {
    const server = await startServer(environment, source, prometheusPort, {
      metrics: ({ headers }, response) => {
        const format = formatFor(headers.accept);
        sendShared(response, 'The page of metrics', CONTENT_TYPES[format], texts[format]);
      },
      open: () => makeConsole(environment, source),
      consoleIsAt,
      onGivenUp: (left) => {
        sayPortIsLeft(left, {
          what: 'metrics leave through a provider of its own, or not at all',
          remedy: 'Set OTEL_EXPORTER_PROMETHEUS_PORT to another port to have ours',
        });
        onGivenUp();
      },
    });
    if (environment.console !== 'off' && consoleIsAt === undefined) {
      await nextTurn();
      watch(source.console);
    }
    return {
      url: server.url,
      stop: async () => {
        await Promise.all([server.close(), page.stop()]);
      },
    };
  } catch (error) {
    await page.stop();
    explainPort(error as NodeJS.ErrnoException, prometheusHost, prometheusPort, {
      what: 'metrics are not published',
      remedy: 'Set OTEL_EXPORTER_PROMETHEUS_PORT to a free port, or OTEL_BREAKER_METRICS=off',
      variable: 'OTEL_EXPORTER_PROMETHEUS_PORT',
    });
    return undefined;
  }
}

/** Opens a port for the console alone. @param onGivenUp the application listens there itself now */
async function openConsole(
  environment: Environment,
  source: PortSource,
  onGivenUp: () => void,
): Promise<(Port & { readonly url: string }) | undefined> {
  const port = environment.consolePort!;
  try {
    const server = await startServer(environment, source, port, {
      open: () => makeConsole(environment, source),
      onGivenUp: (left) => {
        sayPortIsLeft(left, {
          what: 'there is no console any more',
          remedy: 'Set OTEL_BREAKER_CONSOLE_PORT to another port',
        });
        onGivenUp();
      },
    });
    watch(source.console);
    return { url: server.url, stop: () => server.close() };
  } catch (error) {
    explainPort(error as NodeJS.ErrnoException, environment.prometheusHost, port, {
      what: 'there is no console',
      remedy: 'Set OTEL_BREAKER_CONSOLE_PORT to a free port',
      variable: 'OTEL_BREAKER_CONSOLE_PORT',
    });
    return undefined;
  }
}

function startServer(
  environment: Environment,
  source: PortSource,
  port: number,
  what: Pick<Server.ConsoleOptions, 'metrics' | 'open' | 'consoleIsAt' | 'onGivenUp'>,
): Promise<Server.ConsoleServer> {
  // Loaded where it is used: most services bring an exporter of their own, and nobody may ever look at the console.
  const { startConsole } = require('./console/server.js') as typeof Server;
  const { prometheusHost: host, console: reach, consoleHosts: hosts } = environment;
  const health = () => {
    const { HealthAnswers } = require('./console/health.js') as typeof Health;
    return new HealthAnswers(environment.health, source);
  };
  return startConsole({ host, port, reach, hosts, health, ...what });
}

function makeConsole({ adminToken }: Environment, source: PortSource): Server.Console {
  const { createConsole } = require('./console/console.js') as typeof Console;
  const { attachedClients } = source;
  return createConsole({ ...source.console, attachedClients, service: serviceName(), adminToken });
}

/** From now on, everybody remembers what the console will show. */
function watch({ own, workers }: Console.ConsoleParts): void {
  const { WATCH } = require('./console/thread-console.js') as typeof ThreadConsoles;
  own.watch();
  workers.announce(WATCH);
}

function serviceName(): string {
  return serviceNameOf() ?? basename(process.argv[1] ?? process.title);
}

/** What comes of a port that we do not have, and what helps. */
interface WithoutPort {
  readonly what: string;
  readonly remedy: string;
}

function sayPortIsLeft(port: number, { what, remedy }: WithoutPort): void {
  log.warn(`port ${port} is left to the application, which listens there itself: ${what}. ${remedy}`);
}

function explainPort(
  error: NodeJS.ErrnoException,
  host: string,
  port: number,
  { what, remedy, variable }: WithoutPort & { readonly variable: string },
): void {
  if (error.code !== 'EADDRINUSE') return log.warn(`cannot listen on ${host}:${port}: ${what}`, error);
  const isWorker = isClusterWorker();
  // A forked child: its parent was here first, under the same preload. Not so the primary of a cluster, or it would have
  // taken the numbers.
  const level = process.send === undefined || isWorker ? 'warn' : 'debug';
  const ofWorkers = isWorker ? `. Workers of PM2 get a port each by increment_var: '${variable}'` : '';
  log[level](
    `port ${port} on ${host} is taken, perhaps by another service under this preload or by a Prometheus exporter of ` +
      `your own: ${what}. ${remedy}${ofWorkers}`,
  );
}
