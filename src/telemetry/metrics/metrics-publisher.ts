import { createNoopMeter, metrics as metricsApi, type MeterProvider } from '@opentelemetry/api';
import { PACKAGE } from '../../version.js';
import { log } from '../log.js';
import type { BreakerMetrics } from './metrics.js';
import { isTracingAlone } from '../events/standalone-tracing.js';
import { setImmediate, setTimeout } from '../../breaker/real-time.js';

/** Time, so that tests can move it. */
export interface Timers {
  /** Milliseconds that only ever grow. */
  now(): number;
  /** Does something later, unless the process has nothing else to do. 0 is as soon as the present code is done. */
  after(ms: number, act: () => void): void;
}

const realTimers: Timers = {
  now: performance.now.bind(performance),
  after: (ms, act) => void (ms === 0 ? setImmediate(act) : setTimeout(act, ms)).unref(),
};

/** A place for metrics to leave from, where the application has none. */
export interface OwnExporter {
  /** Where it listens, as an URL without a path. */
  readonly url?: string;
  stop(): Promise<void>;
}

// When to look for the application's provider again: SDKs start late, after secrets were fetched or an ESM graph was loaded.
const LOOKS_MS: readonly [first: number, ...later: number[]] = [0, 200, 500, 1_000, 5_000, 30_000];
// How long the application has to bring its own before ours opens a port that may be meant for it …
const GRACE_MS = 500;
// … and how long when it has at least loaded what it would need for one.
const GRACE_WITH_SDK_MS = 5_000;

/** How long a process waits that is likely to have its numbers told by another one. */
export const GRACE_OF_WORKERS_MS = 5_000;

/**
 * Finds out where metrics leave.
 *
 * A global meter provider is never registered from here: the application's own SDK would then find the place taken, and
 * its readers would never be used. Its provider is looked for instead, several times, because there is no proxy for
 * meters as there is for tracers; breakers count meanwhile, and nothing is lost. Only where none comes does an exporter
 * of our own start.
 */
export class MetricsPublisher {
  /** That of the application. */
  #provider: MeterProvider | undefined;
  #own: OwnExporter | undefined;
  #startOwn: (() => Promise<OwnExporter | undefined>) | undefined;
  #grace = GRACE_MS;
  #startedAt = 0;
  #running = false;
  #yielded = false;

  /**
   * @param onPlaced is told where metrics leave, and again where that changes: through an exporter of our own, through the
   * provider of the application, or nowhere
   * @param timers for tests
   */
  constructor(
    private readonly metrics: BreakerMetrics,
    private readonly onPlaced: (place: OwnExporter | 'provider' | 'nowhere') => void = () => {},
    private readonly timers: Timers = realTimers,
  ) {}

  /** Whether metrics leave through a provider of the application. */
  get hasProvider(): boolean {
    return this.#provider !== undefined;
  }

  /**
   * @param startOwn starts an exporter where the application brings none; without it, metrics wait for a provider
   * @param grace milliseconds that the application has for that; more where it has loaded an SDK
   */
  start(startOwn?: () => Promise<OwnExporter | undefined>, grace?: number): void {
    this.#startOwn ??= startOwn;
    this.#grace = grace ?? this.#grace;
    if (this.#running && startOwn === undefined) return;
    this.#running = true;
    this.#startedAt = this.timers.now();
    this.timers.after(LOOKS_MS[0], () => this.#lookAt(0));
  }

  /** Looks once more, now: called where something happens anyway. */
  look(): void {
    if (!this.#running || this.#provider !== undefined) return;
    const provider = metricsApi.getMeterProvider();
    if (isReal(provider)) this.publishTo(provider);
  }

  /** From now on, metrics leave through this provider. One that does nothing is passed over. */
  publishTo(provider: MeterProvider): void {
    if (provider === this.#provider || !isReal(provider)) return;
    this.#provider = provider;
    if (this.#own !== undefined) {
      log.info(
        'Found the metrics provider of the application: metrics leave there from now on, and our own port is free again',
      );
    }
    this.yield();
    this.metrics.attach(provider);
    this.onPlaced('provider');
  }

  /** Does without an exporter of our own from now on: another process publishes our numbers, or a provider does. */
  yield(): void {
    const own = this.#own;
    this.#own = this.#startOwn = undefined;
    this.#yielded = true;
    if (own !== undefined) void stopQuietly(own);
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.metrics.detach();
    const own = this.#own;
    this.#own = this.#provider = this.#startOwn = undefined;
    if (own !== undefined) await stopQuietly(own);
  }

  #lookAt(index: number): void {
    if (!this.#running) return;
    this.look();
    if (this.#provider === undefined && this.#graceIsOver()) void this.#open();
    const next = LOOKS_MS[index + 1];
    if (next === undefined || this.#provider !== undefined) return;
    this.timers.after(next - LOOKS_MS[index]!, () => this.#lookAt(index + 1));
  }

  #graceIsOver(): boolean {
    const grace = applicationHasSdk() ? Math.max(this.#grace, GRACE_WITH_SDK_MS) : this.#grace;
    // Timers are no more exact than a millisecond.
    return this.timers.now() - this.#startedAt >= grace - 1;
  }

  async #open(): Promise<void> {
    const startOwn = this.#startOwn;
    if (startOwn === undefined) return;
    this.#startOwn = undefined;
    let own: OwnExporter | undefined;
    try {
      own = await startOwn();
    } catch (error) {
      // Nobody waits for this: unhandled, it would end the application.
      log.error('metrics are not published', error);
    }
    if (own !== undefined && (!this.#running || this.#yielded)) return stopQuietly(own);
    this.#own = own;
    if (!this.#yielded) this.onPlaced(own ?? 'nowhere');
  }
}

async function stopQuietly(own: OwnExporter): Promise<void> {
  try {
    await own.stop();
  } catch (error) {
    log.warn('our own metrics exporter did not stop cleanly', error);
  }
}

/** Whether a provider does anything: before an SDK has come, the API hands out one that makes no-op meters. */
function isReal(provider: MeterProvider): boolean {
  return provider.getMeter(PACKAGE.name, PACKAGE.version) !== createNoopMeter();
}

/** Whether the application has loaded an SDK with metrics: we load ours only after this was asked. */
function applicationHasSdk(): boolean {
  if (isTracingAlone()) return false;
  return Object.keys(require.cache).some((path) => path.replaceAll('\\', '/').includes('/@opentelemetry/sdk-metrics/'));
}
