import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { BreakerConfig } from '../breaker/config.js';
import { reportOnce } from '../breaker/diagnostics.js';
import type { CircuitOpenError } from '../breaker/errors.js';
import { SHARES_ERRORS, UNGUARDED, type Permit } from '../breaker/permit.js';
import type { CircuitBreakerRegistry } from '../breaker/registry.js';
import { CLOSED } from '../breaker/state.js';
import { letsWaitWhenOpen } from '../outcomes/when-open.js';
import type { Explanation, RuleSet } from '../rules/rule-set.js';
import type { Target } from '../target.js';
import { BreakerCache } from './breaker-cache.js';
import type { EvictionSeams } from './eviction.js';

export { CircuitOpenError } from '../breaker/errors.js';
export { Permit, UNGUARDED } from '../breaker/permit.js';

/** What a call is told at the door: go ahead, or an error that says why not. */
export type Admission = Permit | CircuitOpenError;

/** What can be asked at the door. Each stands here once, so that asking allocates nothing. */
type Question<Answer> = (breakers: BreakerCache, target: Target, context: unknown, longRunning: boolean) => Answer;

const mayEnter: Question<Admission> = (breakers, target, context, longRunning) =>
  breakers.of(target, context)?.tryAcquire(context, longRunning, SHARES_ERRORS) ?? UNGUARDED;

const passes: Question<Permit> = (breakers, target, context, longRunning) =>
  breakers.of(target, context)?.acquireAnyway(context, longRunning) ?? UNGUARDED;

const isClosed: Question<boolean> = (breakers, target, context) =>
  (breakers.of(target, context)?.stateCode ?? CLOSED) === CLOSED;

const takesEvidence: Question<Permit> = (breakers, target) => breakers.of(target)?.acquireEvidence() ?? UNGUARDED;

// A sign of life makes no breaker: of a target without one there is nothing to find out.
const seesLife: Question<void> = (breakers, target) => {
  for (const breaker of breakers.allOf(target)) breaker.signOfLife();
};

const closesByLife: Question<void> = (breakers, target) => {
  for (const breaker of breakers.allOf(target)) breaker.closeBySignOfLife();
};

const mayEnterUnlessOpen: Question<Admission> = (breakers, target, context, longRunning) =>
  breakers.of(target, context)?.acquireUnlessOpen(context, longRunning, SHARES_ERRORS) ?? UNGUARDED;

const letsWait: Question<boolean> = (breakers, target, context) => {
  const breaker = breakers.of(target, context);
  return breaker === undefined || letsWaitWhenOpen(breaker.config);
};

const isRejectedLate: Question<CircuitOpenError | undefined> = (breakers, target) => {
  const breaker = breakers.existing(target);
  return breaker?.isRejecting ? breaker.rejection : undefined;
};

const mayProbe: Question<Permit> = (breakers, target, context) =>
  breakers.of(target, context)?.tryProbe(context) ?? UNGUARDED;

const refuses: Question<boolean> = (breakers, target) => breakers.existing(target)?.isRejecting ?? false;

/** The only way in for instrumentations: target → rule → breaker → permit. No answer of it ever throws. */
export class Guard {
  readonly #breakers: BreakerCache;

  /** @param seams for tests: the time and chance by which breakers make room for others */
  constructor(registry: CircuitBreakerRegistry, rules: RuleSet, seams?: EvictionSeams) {
    this.#breakers = new BreakerCache(registry, rules, seams);
  }

  /**
   * Asks for one call to a target. Where the fault is ours, the call goes through unguarded.
   *
   * @param context what observers get with everything the call causes: its span
   * @param longRunning slow by design, like a blocking Redis command: never slow, never a probe
   * @returns the permit, which whoever makes the call settles; or why it must not be made
   */
  enter(target: Target, context?: unknown, longRunning = false): Admission {
    // As `#ask`, written out: every call comes by here.
    try {
      return mayEnter(this.#breakers, target, context, longRunning);
    } catch (error) {
      reportOnce('The guard failed', error);
      return UNGUARDED;
    }
  }

  /**
   * The permit of a call that must be made whatever the state of the circuit, such as one inside a transaction: counted
   * as every call, never rejected.
   */
  pass(target: Target, context?: unknown, longRunning = false): Permit {
    return this.#ask(passes, UNGUARDED, target, context, longRunning);
  }

  /** Whether calls to a target need no asking, since its circuit is closed. Counts and changes nothing. */
  isClosed(target: Target, context?: unknown): boolean {
    try {
      return isClosed(this.#breakers, target, context, false);
    } catch (error) {
      reportOnce('The guard failed', error);
      return true;
    }
  }

  /**
   * A permit for what a target has shown without being called: a connection that could not be made. While the circuit is
   * open or tried by probes it says nothing new, and is not a rejected call.
   */
  evidence(target: Target): Permit {
    return this.#ask(takesEvidence, UNGUARDED, target);
  }

  /**
   * A connection to a target was made, up to the end of its handshake: where its circuit opened since none could be made,
   * the next call may probe at once. Makes no breaker.
   */
  signOfLife(target: Target): void {
    this.#ask(seesLife, undefined, target);
  }

  /** As `signOfLife`, of a client that has made all its calls wait for this one connection: the circuit closes. */
  closeBySignOfLife(target: Target): void {
    this.#ask(closesByLife, undefined, target);
  }

  /** As `enter`, for a call that would wait for a connection: it is rejected rather than made a probe. */
  enterUnlessOpen(target: Target, context?: unknown, longRunning = false): Admission {
    return this.#ask(mayEnterUnlessOpen, UNGUARDED, target, context, longRunning);
  }

  /** Whether calls to a target go on waiting in their client's own queue while its circuit is open. */
  letsWait(target: Target, context?: unknown): boolean {
    return this.#ask(letsWait, true, target, context);
  }

  /** Why a call that was let through must not go on waiting: its circuit has opened meanwhile. Counts nothing. */
  rejection(target: Target): CircuitOpenError | undefined {
    return this.#ask(isRejectedLate, undefined, target);
  }

  /** A permit to probe a target with a call of our own, where a half-open circuit has room for one; else `UNGUARDED`. */
  probe(target: Target, context?: unknown): Permit {
    return this.#ask(mayProbe, UNGUARDED, target, context);
  }

  /** Whether a call to a target would be rejected now, but for the time that opens the way to a probe. */
  refuses(target: Target): boolean {
    return this.#ask(refuses, false, target);
  }

  /** Whether a call of any breaker has not ended yet. */
  get hasCallsInFlight(): boolean {
    return this.#breakers.hasCallsInFlight;
  }

  /** The breaker of a target, made by its rule where there is none yet, whatever the limit. */
  breakerOf(target: Target): CircuitBreaker {
    return this.#breakers.insist(target);
  }

  /** The options that a call to a target has. */
  configOf(target: Target, context: unknown): BreakerConfig {
    return (this.#breakers.of(target, context) ?? this.#breakers.insist(target)).config;
  }

  /** Where everything about a breaker comes from; `undefined` where the guard did not make it. */
  explain(breaker: CircuitBreaker): Explanation | undefined {
    return this.#breakers.explain(breaker);
  }

  /**
   * From now on these rules are in force. Breakers that exist keep their state and their counts; one whose target has
   * another name now takes that name.
   */
  useRules(rules: RuleSet): void {
    this.#breakers.useRules(rules);
  }

  /** Where a fault of ours is kept from whoever asks. */
  #ask<Answer>(
    question: Question<Answer>,
    otherwise: Answer,
    target: Target,
    context?: unknown,
    longRunning = false,
  ): Answer {
    try {
      return question(this.#breakers, target, context, longRunning);
    } catch (error) {
      reportOnce('The guard failed', error);
      return otherwise;
    }
  }
}
