import { context as contexts, createContextKey } from '@opentelemetry/api';
import { CircuitBreaker, UNGUARDED, type Permit } from './breaker/circuit-breaker.js';
import { diagnostics } from './breaker/diagnostics.js';
import type { CircuitOpenError } from './breaker/errors.js';
import type { CircuitBreakerRegistry } from './breaker/registry.js';
import type { RuleSet } from './rules/rule-set.js';
import type { Target } from './target.js';

export { CircuitOpenError } from './breaker/errors.js';
export { UNGUARDED, type Permit } from './breaker/circuit-breaker.js';

/** What a call is told at the door: go ahead, or an error that says why not. */
export type Admission = Permit | CircuitOpenError;

interface Entry {
  readonly target: Target;
  readonly breaker: CircuitBreaker;
}

// The key that OpenTelemetry's suppressTracing() sets; exporters make their own calls under it.
const SUPPRESS_TRACING = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING');

/** The only door that instrumentations use: target → rule → breaker → permit. */
export class Guard {
  // By host first: the string is at hand, and a host has few ports. Building a key for each call would cost more than the rest.
  readonly #byHost = new Map<string, Entry[]>();
  #removals: number;
  #broken = false;

  constructor(
    private readonly registry: CircuitBreakerRegistry,
    private rules: RuleSet,
  ) {
    this.#removals = registry.removals;
  }

  /**
   * Asks for one call to a target. Never throws: where the fault is ours, the call goes through unguarded.
   *
   * @param context what observers get with everything the call causes: its span
   * @param longRunning slow by design, like a blocking Redis command: never slow, never a probe
   * @returns the permit, which whoever makes the call settles; or why it must not be made
   */
  enter(target: Target, context?: unknown, longRunning?: boolean): Admission {
    try {
      if (contexts.active().getValue(SUPPRESS_TRACING) === true) return UNGUARDED;
      return this.breakerOf(target).tryAcquire(context, longRunning);
    } catch (error) {
      if (!this.#broken) diagnostics.report('The guard failed; calls go through unguarded where it does', error);
      this.#broken = true;
      return UNGUARDED;
    }
  }

  /** From now on these rules are in force, for breakers that exist already too. */
  useRules(rules: RuleSet): void {
    this.rules = rules;
    this.#byHost.clear();
  }

  /** The breaker of a target, made by its rule where there is none yet. */
  breakerOf(target: Target): CircuitBreaker {
    if (this.#removals !== this.registry.removals) {
      this.#removals = this.registry.removals;
      this.#byHost.clear();
    }
    const entries = this.#byHost.get(target.host);
    if (entries !== undefined) {
      for (const { target: known, breaker } of entries) {
        if (known.port === target.port && known.scheme === target.scheme && known.database === target.database) {
          return breaker;
        }
      }
    }
    const entry = { target, breaker: this.#make(target) };
    if (entries === undefined) this.#byHost.set(target.host, [entry]);
    else entries.push(entry);
    return entry.breaker;
  }

  #make(target: Target): CircuitBreaker {
    const { name, config, labels } = this.rules.resolve(target);
    const present = this.registry.get(name);
    if (present !== undefined) return present;
    const breaker = new CircuitBreaker(name, config);
    breaker.labels = labels;
    this.registry.register(breaker);
    return breaker;
  }
}
