import {
  BrokenCircuitError,
  circuitBreaker,
  ConsecutiveBreaker,
  CountBreaker,
  handleAll,
  SamplingBreaker,
  type IBreaker,
} from 'cockatiel';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import type { BreakerOptions, CircuitBreakerRegistry } from '../src/index.js';
import type { BreakerMetrics } from '../src/telemetry/metrics/metrics.js';
import type { PrometheusPage } from '../src/telemetry/metrics/prometheus-page.js';

type OtelBreaker = typeof import('../src/index.js');

/** A call through a breaker that wraps `fn`. */
export type Call = () => Promise<unknown>;

/** Something that runs calls. */
export interface Contender {
  readonly name: string;
  /** Guards a function with a breaker that does not open. */
  guard(fn: () => Promise<unknown>): Call | Promise<Call>;
  /** Whether failures open it at any threshold. Then its failing path cannot be measured. */
  readonly alwaysTrips?: boolean;
  /** A call through an open circuit that stays open. */
  rejecting(): Call | Promise<Call>;
  /** Makes a breaker without calls, with all the metrics that it has. */
  readonly idle?: (name: string) => unknown;
}

const FOR_EVER_MS = 2 ** 31 - 1;
const failing = () => Promise.reject(new Error('dead'));

// Called through a function, as the others call it: each stack frame makes the error of a failing call more expensive.
const bare: Contender = {
  name: 'bare await fn()',
  guard: (fn) => () => fn(),
  // The least that a rejection can cost: a promise and an error.
  rejecting: () => () => Promise.reject(new Error('open')),
};

/** What every exact breaker needs: the result of the promise, and the clock for the window. */
function floor(name: string, clockReads: 1 | 2): Contender {
  const { now } = performance;
  const clock = now.bind(performance);
  return {
    name,
    guard: (fn) => {
      let last = 0;
      const onValue = (value: unknown) => {
        last = clock();
        return value;
      };
      const onError = (error: unknown) => {
        last = clock();
        throw error;
      };
      return () => {
        if (clockReads === 2) last = clock();
        return last < 0 ? Promise.resolve() : fn().then(onValue, onError);
      };
    },
    rejecting: bare.rejecting,
  };
}

const BUCKET_MS = 3_000;
const BUCKETS = 10;
const BOUNDS_MS = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

class OpenError extends Error {
  readonly code = 'ERR_OPEN';
  constructor(
    message: string,
    readonly breaker: string,
    readonly retryAfterMs: number,
    cause: Error,
  ) {
    super(message, { cause });
  }
}

/** Rejects the promise that is resolved with it: cheaper than `Promise.reject`, for which Node keeps a list of unhandled ones. */
class Rejected {
  constructor(private readonly error: Error) {}

  then(_: unknown, reject: (error: Error) => void): void {
    reject(this.error);
  }
}

/**
 * The least that a breaker must do and be right: know which calls began before the circuit has changed, how many are in
 * flight, and how many have ended well and badly within the window; and with metrics how long they took. No options, no
 * modes, no probes, no judging of errors, nobody who is told: it is written for this one function, by hand.
 */
function leastBreaker(name: string, withHistogram: boolean): Contender {
  const { now } = performance;
  const clock = now.bind(performance);
  const make = (openUntil: number) => {
    let generation = 0;
    let inFlight = 0;
    let successes = 0;
    let failures = 0;
    let rejections = 0;
    let failuresInARow = 0;
    let newest = Math.floor(clock() / BUCKET_MS);
    let callsInWindow = 0;
    let failuresInWindow = 0;
    const calls = new Array<number>(BUCKETS).fill(0);
    const failed = new Array<number>(BUCKETS).fill(0);
    const histogram = new Array<number>(BOUNDS_MS.length + 1).fill(0);
    let sum = 0;
    const cause = new Error('dead');

    const rotate = (bucket: number) => {
      for (; newest < bucket; newest++) {
        const oldest = (newest + 1) % BUCKETS;
        callsInWindow -= calls[oldest]!;
        failuresInWindow -= failed[oldest]!;
        calls[oldest] = failed[oldest] = 0;
      }
    };
    const ended = (began: number, startedAt: number, isFailure: boolean) => {
      const endedAt = clock();
      inFlight--;
      if (withHistogram) {
        const took = endedAt - startedAt;
        let slot = 0;
        while (slot < BOUNDS_MS.length && took > BOUNDS_MS[slot]!) slot++;
        histogram[slot]!++;
        sum += took;
      }
      if (isFailure) failures++;
      else successes++;
      if (began !== generation) return;
      const bucket = Math.floor(endedAt / BUCKET_MS);
      if (bucket > newest) rotate(bucket);
      calls[bucket % BUCKETS]!++;
      callsInWindow++;
      if (isFailure) {
        failed[bucket % BUCKETS]!++;
        failuresInWindow++;
        failuresInARow++;
      } else failuresInARow = 0;
      if (failuresInARow === Infinity || failuresInWindow > callsInWindow) generation++;
    };
    const reject = (until: number) => {
      rejections++;
      const limit = Error.stackTraceLimit;
      Error.stackTraceLimit = 0;
      const error = new OpenError('The circuit is open', name, until - clock(), cause);
      Error.stackTraceLimit = limit;
      return Promise.resolve(new Rejected(error) as unknown as PromiseLike<never>);
    };
    const call = (fn: () => Promise<unknown>): Promise<unknown> => {
      if (openUntil > 0) return reject(openUntil);
      const began = generation;
      const startedAt = withHistogram ? clock() : 0;
      inFlight++;
      return fn().then(
        (value) => {
          ended(began, startedAt, false);
          return value;
        },
        (error: unknown) => {
          ended(began, startedAt, true);
          throw error;
        },
      );
    };
    const numbers = () => [inFlight, successes, failures, rejections, sum];
    return { call, numbers };
  };
  return {
    name,
    guard: (fn) => {
      const breaker = make(0);
      return () => breaker.call(fn);
    },
    rejecting: () => {
      const breaker = make(FOR_EVER_MS);
      return () => breaker.call(failing);
    },
  };
}

/** Where the metrics of a breaker go: nowhere, to the exporter of our own, or to a reader of the application's SDK. */
type Metrics = 'none' | 'own exporter' | 'SDK of the application';

// The build that users get. Loaded by its path, since the package's name leads to the source here.
const core = () => require('../dist/src/index.js') as OtelBreaker;
function telemetry<File extends 'metrics' | 'prometheus-page'>(file: File): Telemetry[File] {
  return require(`../dist/src/telemetry/metrics/${file}.js`) as Telemetry[File];
}
interface Published {
  readonly metrics: BreakerMetrics;
  readonly page: PrometheusPage;
}

interface Telemetry {
  readonly metrics: typeof import('../src/telemetry/metrics/metrics.js');
  readonly 'prometheus-page': typeof import('../src/telemetry/metrics/prometheus-page.js');
}

/** Publishes the metrics of a registry's breakers, present and future. */
export function publish(registry: CircuitBreakerRegistry, to: Exclude<Metrics, 'none'>): Published {
  const metrics = new (telemetry('metrics').BreakerMetrics)();
  registry.observe({
    onAdded: (added) => metrics.add(added),
    onRemoved: (removed) => metrics.remove(removed),
    onTransition: () => undefined,
    onRejection: () => undefined,
  });
  const page = telemetry('prometheus-page').createPrometheusPage(() =>
    Promise.resolve({ breakers: metrics.numbers(), processes: [] }),
  );
  if (to === 'SDK of the application') {
    metrics.attach(new MeterProvider({ readers: [new PrometheusExporter({ preventServerStart: true })] }));
  }
  return { metrics, page };
}

function otelBreaker(name: string, metrics: Metrics): Contender {
  const { CircuitBreakerRegistry } = core();
  const make = (options?: BreakerOptions) => {
    const registry = new CircuitBreakerRegistry();
    if (metrics !== 'none') publish(registry, metrics);
    return registry.getOrCreate('bench', options);
  };
  const registry = new CircuitBreakerRegistry();
  return {
    name,
    guard: (fn) => {
      const breaker = make(NEVER_OPENS);
      return () => breaker.call(fn);
    },
    rejecting: () => {
      const breaker = make();
      breaker.forceOpen();
      return () => breaker.call(failing);
    },
    idle: (breaker) => {
      if (registry.size === 0 && metrics !== 'none') publish(registry, metrics);
      return registry.getOrCreate(breaker);
    },
  };
}

const NEVER_OPENS: BreakerOptions = {
  failureThreshold: Number.MAX_SAFE_INTEGER,
  minimumCalls: Number.MAX_SAFE_INTEGER,
};

function cockatiel(name: string, breaker: () => IBreaker, tripping: () => IBreaker): Contender {
  const policy = (strategy: IBreaker) => circuitBreaker(handleAll, { halfOpenAfter: FOR_EVER_MS, breaker: strategy });
  return {
    name,
    guard: (fn) => {
      const guarded = policy(breaker());
      return () => guarded.execute(fn);
    },
    rejecting: async () => {
      const guarded = policy(tripping());
      for (;;) {
        const error: unknown = await guarded.execute(failing).catch((reason: unknown) => reason);
        if (error instanceof BrokenCircuitError) return () => guarded.execute(failing);
      }
    },
    idle: () => policy(breaker()),
  };
}

interface Opossum {
  fire(): Promise<unknown>;
  open(): void;
}

function opossum(name: string, options: object, withMetrics = false): Contender {
  const make = (fn: () => Promise<unknown>): Opossum => {
    const Breaker = require('opossum') as new (fn: () => Promise<unknown>, options: object) => Opossum;
    const breaker = new Breaker(fn, options);
    if (withMetrics) {
      const { Registry } = require('prom-client') as typeof import('prom-client');
      const Metrics = require('opossum-prometheus') as new (options: object) => unknown;
      new Metrics({ circuits: [breaker], registry: new Registry() });
    }
    return breaker;
  };
  const neverOpens = { volumeThreshold: Number.MAX_SAFE_INTEGER };
  return {
    name,
    guard: (fn) => {
      const breaker = make(fn);
      Object.assign((breaker as unknown as { options: object }).options, neverOpens);
      return () => breaker.fire();
    },
    rejecting: () => {
      const breaker = make(failing);
      breaker.open();
      return () => breaker.fire();
    },
    idle: () => make(failing),
  };
}

interface MollitiaCircuit {
  fn(fn: () => Promise<unknown>): { execute(): Promise<unknown> };
}

function mollitia(name: string, kind: 'SlidingCountBreaker' | 'SlidingTimeBreaker', window: number): Contender {
  const make = (fn: () => Promise<unknown>, trips: boolean) => {
    const { Circuit, ...breakers } = require('mollitia') as unknown as Record<string, new (options: object) => object>;
    const breaker = new breakers[kind]!({
      slidingWindowSize: window,
      minimumNumberOfCalls: trips ? 2 : Number.MAX_SAFE_INTEGER,
      failureRateThreshold: trips ? 1 : 100,
      openStateDelay: FOR_EVER_MS,
    });
    const circuit = new Circuit!({ options: { modules: [breaker] } }) as MollitiaCircuit;
    return circuit.fn(fn);
  };
  return {
    name,
    guard: (fn) => {
      const guarded = make(fn, false);
      return () => guarded.execute();
    },
    rejecting: async () => {
      const guarded = make(failing, true);
      for (let call = 0; call < 10; call++) await guarded.execute().catch(() => undefined);
      return () => guarded.execute();
    },
    idle: () => make(failing, false),
  };
}

export const CONTENDERS: readonly Contender[] = [
  bare,
  floor('floor: `then` and one look at the clock', 1),
  floor('floor: `then` and two looks at the clock', 2),
  leastBreaker('floor: … and all that a breaker must count, one look', false),
  leastBreaker('floor: … and a histogram, two looks', true),
  otelBreaker('otel-breaker', 'none'),
  otelBreaker('otel-breaker, all metrics', 'own exporter'),
  otelBreaker('otel-breaker, all metrics through an SDK', 'SDK of the application'),
  cockatiel(
    'cockatiel consecutive',
    () => new ConsecutiveBreaker(Infinity),
    () => new ConsecutiveBreaker(1),
  ),
  cockatiel(
    'cockatiel sampling',
    () => new SamplingBreaker({ threshold: 0.5, duration: 30_000, minimumRps: 1e12 }),
    () => new SamplingBreaker({ threshold: 0.01, duration: 30_000, minimumRps: 0 }),
  ),
  {
    ...cockatiel(
      'cockatiel count',
      () => new CountBreaker({ threshold: 0.99999, size: 100 }),
      () => new CountBreaker({ threshold: 0.01, size: 2 }),
    ),
    alwaysTrips: true,
  },
  opossum('opossum', {}),
  opossum('opossum, lean', { timeout: false, enableSnapshots: false, rollingPercentilesEnabled: false }),
  opossum('opossum + opossum-prometheus', {}, true),
  mollitia('mollitia count', 'SlidingCountBreaker', 100),
  mollitia('mollitia time', 'SlidingTimeBreaker', 1_000),
];
