import { context as contexts, createContextKey } from '@opentelemetry/api';
import { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { UNGUARDED, type Permit } from '../breaker/permit.js';
import { diagnostics } from '../breaker/diagnostics.js';
import { CircuitOpenError } from '../breaker/errors.js';
import type { CircuitBreakerRegistry } from '../breaker/registry.js';
import { CLOSED } from '../breaker/state.js';
import type { Explanation, Resolution, RuleSet } from '../rules/rule-set.js';
import type { Target } from '../target.js';
import { log } from '../telemetry/log.js';

export { CircuitOpenError } from '../breaker/errors.js';
export { Permit, UNGUARDED } from '../breaker/permit.js';

/** What a call is told at the door: go ahead, or an error that says why not. */
export type Admission = Permit | CircuitOpenError;

interface Entry {
  readonly target: Target;
  /** `undefined` where the rules want none: mode `off`. */
  readonly breaker: CircuitBreaker | undefined;
}

/** What the guard remembers of a breaker that it made. */
interface Made {
  /** The first target that it was made for. */
  readonly target: Target;
  /** How many calls it had when it was last looked at for eviction. */
  calls: number;
}

// The key that OpenTelemetry's suppressTracing() sets; exporters make their own calls under it.
const SUPPRESS_TRACING = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING');

// Beyond the breakers there can be, a cache holds only hosts that share one or have none: enough for those in use.
const MAX_CACHED_HOSTS = 4_096;
// Ports and databases of one host, gone through one by one.
const MAX_CACHED_PER_HOST = 64;
// A call must not wait for a search through any number of breakers that are all in use …
const MAX_LOOKS_FOR_IDLE = 2_048;
// … nor, after a search in vain, each call to a further target for the next one.
const LOOKS_PER_CALL = 8;

/** The only door that instrumentations use: target → rule → breaker → permit. */
export class Guard {
  // By host first: the string is at hand, and a host has few ports. Building a key for each call would cost more than the rest.
  // Two generations: when one is full it becomes the previous one, and what is still in use moves over when it is asked for.
  #byHost = new Map<string, Entry[]>();
  #previous = new Map<string, Entry[]>();
  readonly #made = new Map<CircuitBreaker, Made>();
  #removals: number;
  #callsUntilSearch = 0;
  #broken = false;
  #saidFull = false;

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
      if (isSuppressed()) return UNGUARDED;
      return this.#breakerFor(target)?.tryAcquire(context, longRunning) ?? UNGUARDED;
    } catch (error) {
      return this.#stepAside(error);
    }
  }

  /**
   * The permit of a call that must be made whatever the state of the circuit, such as one inside a transaction: counted
   * as every call, never rejected. Never throws.
   */
  pass(target: Target, context?: unknown, longRunning?: boolean): Permit {
    try {
      if (isSuppressed()) return UNGUARDED;
      return this.#breakerFor(target)?.acquireAnyway(context, longRunning) ?? UNGUARDED;
    } catch (error) {
      return this.#stepAside(error);
    }
  }

  /** Whether calls to a target need no asking, since its circuit is closed. Counts and changes nothing; never throws. */
  isClosed(target: Target): boolean {
    try {
      return (this.#breakerFor(target)?.stateCode ?? CLOSED) === CLOSED;
    } catch (error) {
      this.#stepAside(error);
      return true;
    }
  }

  /**
   * A permit for what a target has shown without being called: a connection that could not be made. While the circuit is
   * not closed it says nothing new, and is not a rejected call.
   */
  evidence(target: Target): Permit {
    try {
      const breaker = this.#breakerFor(target);
      if (breaker?.stateCode !== CLOSED) return UNGUARDED;
      const admission = breaker.tryAcquire();
      return admission instanceof CircuitOpenError ? UNGUARDED : admission;
    } catch (error) {
      return this.#stepAside(error);
    }
  }

  /** A permit to probe a target with a call of our own, where a half-open circuit has room for one; else `UNGUARDED`. */
  probe(target: Target, context?: unknown): Permit {
    try {
      return this.#breakerFor(target)?.tryProbe(context) ?? UNGUARDED;
    } catch (error) {
      return this.#stepAside(error);
    }
  }

  /** Whether a call to a target would be rejected now, but for the time that opens the way to a probe. */
  refuses(target: Target): boolean {
    try {
      return this.#breakerFor(target)?.isRejecting ?? false;
    } catch (error) {
      this.#stepAside(error);
      return false;
    }
  }

  /** The breaker of a target, made by its rule where there is none yet, whatever the limit. */
  breakerOf(target: Target): CircuitBreaker {
    const breaker = this.#breakerFor(target);
    if (breaker !== undefined) return breaker;
    const resolution = this.rules.resolve(target);
    this.#forgetHost(target.host);
    return this.registry.get(resolution.name) ?? this.#add(target, resolution);
  }

  /** Where everything about a breaker comes from; `undefined` where the guard did not make it. */
  explain(breaker: CircuitBreaker): Explanation | undefined {
    const made = this.#made.get(breaker);
    const explanation = made && this.rules.explain(made.target);
    return explanation?.name === breaker.name ? explanation : undefined;
  }

  /**
   * From now on these rules are in force. Breakers that exist keep their state and their counts; one whose target has
   * another name now takes that name.
   */
  useRules(rules: RuleSet): void {
    const targets = this.#knownTargets();
    this.rules = rules;
    this.#saidFull = false;
    this.#forget();
    for (const [breaker, known] of targets) this.#apply(breaker, known);
  }

  #breakerFor(target: Target): CircuitBreaker | undefined {
    if (this.#removals !== this.registry.removals) this.#forget();
    const entries = this.#byHost.get(target.host) ?? this.#promote(target.host);
    if (entries !== undefined) {
      for (const { target: known, breaker } of entries) {
        if (known.port === target.port && known.scheme === target.scheme && known.database === target.database) {
          return breaker;
        }
      }
    }
    return this.#resolve(target);
  }

  #resolve(target: Target): CircuitBreaker | undefined {
    const resolution = this.rules.resolve(target);
    let breaker = this.registry.get(resolution.name);
    if (breaker === undefined && resolution.config.mode !== 'off') {
      // Not cached: there may be room the next time.
      if (this.#made.size >= this.rules.maxBreakers && !this.#evictIdle()) return this.#sayFull();
      breaker = this.#add(target, resolution);
    }
    this.#cache({ target, breaker });
    return breaker;
  }

  #add(target: Target, { name, config, labels }: Resolution): CircuitBreaker {
    const breaker = new CircuitBreaker(name, config);
    breaker.labels = labels;
    this.registry.register(breaker);
    this.#made.set(breaker, { target, calls: 1 });
    return breaker;
  }

  /**
   * Removes one breaker of ours that rejects nobody, has no call under way and had none since it was last looked at: the
   * search goes round, and those in use are passed over once.
   */
  #evictIdle(): boolean {
    if (this.#callsUntilSearch > 0) {
      this.#callsUntilSearch--;
      return false;
    }
    let looks = 0;
    const inVain = () => {
      this.#callsUntilSearch = Math.floor(looks / LOOKS_PER_CALL);
      return false;
    };
    for (const [breaker, made] of this.#made) {
      if (looks++ === MAX_LOOKS_FOR_IDLE) return inVain();
      const { success, failure, ignored } = breaker.tally;
      const calls = success + failure + ignored;
      if (breaker.isForgettable && calls <= made.calls) {
        this.#evict(breaker, made.target.host);
        return true;
      }
      // To the end of the line, where this loop comes by once more if nothing better turns up.
      this.#made.delete(breaker);
      if (this.registry.get(breaker.name) !== breaker) continue;
      this.#made.set(breaker, { target: made.target, calls });
      if (looks >= 2 * this.#made.size) return inVain();
    }
    return this.#made.size < this.rules.maxBreakers;
  }

  #evict(breaker: CircuitBreaker, host: string): void {
    const known = this.#removals;
    this.#made.delete(breaker);
    this.registry.remove(breaker.name);
    // Of our own removals we know what they are about; only a breaker of many targets is worth starting over.
    if (known !== this.registry.removals - 1 || !('server_address' in breaker.labels)) return;
    this.#removals = this.registry.removals;
    this.#forgetHost(host);
  }

  #stepAside(error: unknown): Permit {
    if (!this.#broken) diagnostics.report('The guard failed; calls go through unguarded where it does', error);
    this.#broken = true;
    return UNGUARDED;
  }

  #sayFull(): undefined {
    if (this.#saidFull) return;
    this.#saidFull = true;
    log.warn(
      `${this.rules.maxBreakers} circuit breakers exist and none is idle: calls to further targets go through unguarded. ` +
        'Raise maxBreakers, or let targets share a breaker by the name of a rule',
    );
  }

  #cache(entry: Entry): void {
    const { host } = entry.target;
    const entries = this.#byHost.get(host);
    if (entries !== undefined && entries.length < MAX_CACHED_PER_HOST) {
      entries.push(entry);
      return;
    }
    if (this.#byHost.size >= MAX_CACHED_HOSTS) {
      this.#previous = this.#byHost;
      this.#byHost = new Map();
    }
    this.#byHost.set(host, [entry]);
  }

  #promote(host: string): Entry[] | undefined {
    const entries = this.#previous.get(host);
    if (entries !== undefined && this.#byHost.size < MAX_CACHED_HOSTS) this.#byHost.set(host, entries);
    return entries;
  }

  #forget(): void {
    this.#removals = this.registry.removals;
    this.#byHost.clear();
    this.#previous.clear();
  }

  #forgetHost(host: string): void {
    this.#byHost.delete(host);
    this.#previous.delete(host);
  }

  /** The breakers that the guard made and that are still there, each with the targets it is known to be for. */
  #knownTargets(): Map<CircuitBreaker, Target[]> {
    const targets = new Map<CircuitBreaker, Target[]>();
    for (const [breaker, { target }] of this.#made) {
      if (this.registry.get(breaker.name) === breaker) targets.set(breaker, [target]);
      else this.#made.delete(breaker);
    }
    for (const entries of [...this.#previous.values(), ...this.#byHost.values()]) {
      for (const { target, breaker } of entries) if (breaker !== undefined) targets.get(breaker)?.push(target);
    }
    return targets;
  }

  /** Brings new rules to a breaker that exists. */
  #apply(breaker: CircuitBreaker, targets: readonly Target[]): void {
    const resolutions = targets.map((target) => this.rules.resolve(target));
    const kept = resolutions.find(({ name }) => name === breaker.name);
    const { name, config, labels } = kept ?? resolutions[0]!;
    if (kept === undefined) {
      const renamed = resolutions.every((other) => other.name === name) && this.registry.rename(breaker, name);
      // Its targets have several breakers now, or one that is there already: no call will ever come here again.
      if (!renamed) return void (breaker.state !== 'closed' && breaker.reset());
    }
    breaker.labels = labels;
    breaker.reconfigure(config);
    // Nobody would ever close it.
    if (config.mode === 'off' && breaker.state !== 'closed') breaker.reset();
  }
}

function isSuppressed(): boolean {
  return contexts.active().getValue(SUPPRESS_TRACING) === true;
}
