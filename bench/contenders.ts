import {
  BrokenCircuitError,
  circuitBreaker,
  ConsecutiveBreaker,
  CountBreaker,
  handleAll,
  SamplingBreaker,
  type IBreaker,
} from 'cockatiel';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import type { BreakerOptions } from '../src/index.js';

type OtelBreaker = typeof import('../src/index.js');

/** A call through a breaker that wraps `fn`. */
export type Call = () => Promise<unknown>;

/** Something that runs calls. */
export interface Contender {
  readonly name: string;
  /** Guards a function with a breaker that does not open. */
  guard(fn: () => Promise<unknown>): Call | Promise<Call>;
  /** Whether nothing but failures opens it all the same: then its failing path cannot be measured. */
  readonly alwaysTrips?: boolean;
  /** A call through an open circuit that stays open. */
  rejecting(): Call | Promise<Call>;
}

const FOR_EVER_MS = 2 ** 31 - 1;
const failing = () => Promise.reject(new Error('dead'));

const bare: Contender = {
  name: 'bare await fn()',
  guard: (fn) => async () => await fn(),
  // What a rejection costs at the least: a promise and an error.
  rejecting: () => () => Promise.reject(new Error('open')),
};

function otelBreaker(name: string, options: BreakerOptions, withMetrics: boolean): Contender {
  const make = (): { call: (fn: () => Promise<unknown>) => Promise<unknown>; forceOpen(): void } => {
    // The build, as users have it.
    const { CircuitBreaker, CircuitBreakerRegistry } = require('otel-breaker') as OtelBreaker;
    const breaker = new CircuitBreaker('bench', options);
    if (withMetrics) {
      const { BreakerMetrics } =
        require('../dist/src/telemetry/metrics.js') as typeof import('../src/telemetry/metrics.js');
      const metrics = new BreakerMetrics();
      const registry = new CircuitBreakerRegistry();
      registry.observe({
        onAdded: (added) => metrics.add(added),
        onRemoved: (removed) => metrics.remove(removed),
        onTransition: () => undefined,
        onRejection: () => undefined,
      });
      registry.register(breaker);
      metrics.attach(new MeterProvider());
    }
    return breaker;
  };
  return {
    name,
    guard: (fn) => {
      const breaker = make();
      return () => breaker.call(fn);
    },
    rejecting: () => {
      const breaker = make();
      breaker.forceOpen();
      return () => breaker.call(failing);
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
  };
}

export const CONTENDERS: readonly Contender[] = [
  bare,
  otelBreaker('otel-breaker', NEVER_OPENS, false),
  otelBreaker('otel-breaker, all metrics', NEVER_OPENS, true),
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
