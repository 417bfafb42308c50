import { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { CircuitBreakerRegistry } from '../breaker/registry.js';
import type { Explanation, Resolution, RuleSet } from '../rules/rule-set.js';
import { isTelemetryRequest } from '../rules/telemetry-endpoints.js';
import { canExist, type Target } from '../target.js';
import type { CallContext } from '../telemetry/events/call-context.js';
import { log } from '../telemetry/log.js';
import { Eviction, type EvictionSeams } from './eviction.js';

interface Entry {
  readonly target: Target;
  /** `undefined` where the rules want none: mode `off`. */
  readonly breaker: CircuitBreaker | undefined;
}

// Beyond the breakers there can be, a cache holds only hosts that share one or have none: enough for those in use.
const MAX_CACHED_HOSTS = 4_096;
// Ports and databases of one host, gone through one by one.
const MAX_CACHED_PER_HOST = 64;
// All origins behind one plain proxy have this share of the breakers there can be.
const SHARE_OF_PROXY = 0.1;

/** Target → rule → breaker, remembered. Makes breakers, up to the number that the rules allow. */
export class BreakerCache {
  // By host first: the string is at hand, and a host has few ports. Building a key for each call would cost more than the rest.
  // Two generations: when one is full it becomes the previous one, and what is still in use moves over when it is asked for.
  #byHost = new Map<string, Entry[]>();
  #previous = new Map<string, Entry[]>();
  readonly #made: Eviction;
  readonly #through = new Map<string, Eviction>();
  /** Those of which a request has shown that it is one of an agent. */
  readonly #telemetry = new WeakSet<CircuitBreaker>();
  #removals: number;
  #saidFull = false;

  constructor(
    private readonly registry: CircuitBreakerRegistry,
    private rules: RuleSet,
    private readonly seams?: EvictionSeams,
  ) {
    this.#made = new Eviction(seams);
    this.#removals = registry.removals;
  }

  /** The breaker of a target, made where there is none yet; `undefined` where there is to be none, or no room for it. */
  of(target: Target, context?: unknown): CircuitBreaker | undefined {
    const entry = this.#find(target);
    return entry === undefined ? this.#resolve(target, context) : entry.breaker;
  }

  /** The breaker of a target, where there is one. */
  existing(target: Target): CircuitBreaker | undefined {
    const entry = this.#find(target);
    return entry === undefined ? this.registry.get(this.rules.resolve(target).name) : entry.breaker;
  }

  /** The breaker of a target, made where there is none yet, whatever its mode and the limit. */
  insist(target: Target): CircuitBreaker {
    const breaker = this.of(target);
    if (breaker !== undefined) return breaker;
    const resolution = this.rules.resolve(target);
    this.#forgetHost(target.host);
    return this.registry.get(resolution.name) ?? this.#add(target, resolution);
  }

  /** Where everything about a breaker comes from; `undefined` where it was not made here. */
  explain(breaker: CircuitBreaker): Explanation | undefined {
    const made = this.#made.get(breaker);
    const explanation = made && this.rules.explain(made.target, this.#isTelemetry(breaker));
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

  #find(target: Target): Entry | undefined {
    if (this.#removals !== this.registry.removals) this.#forget();
    const entries = this.#byHost.get(target.host) ?? this.#promote(target.host);
    if (entries === undefined) return undefined;
    for (const entry of entries) {
      const { port, scheme, database, via } = entry.target;
      if (port !== target.port || scheme !== target.scheme) continue;
      if (database === target.database && via === target.via) return entry;
    }
    return undefined;
  }

  #resolve(target: Target, context: unknown): CircuitBreaker | undefined {
    // Such a name comes from a stranger: no call to it can succeed, and a megabyte of it must not get into every scrape.
    if (!canExist(target)) return undefined;
    const isAgent = isOfAgent(context);
    const resolution = this.rules.resolve(target, isAgent || undefined);
    // Also where a breaker made in code has the name: the rule is about calls to this target.
    const isOff = resolution.config.mode === 'off';
    let breaker = isOff ? undefined : this.registry.get(resolution.name);
    if (breaker === undefined && !isOff) {
      // Not cached: there may be room the next time.
      if (!this.#hasRoom(target)) return this.#sayFull();
      breaker = this.#add(target, resolution);
      if (isAgent) this.#telemetry.add(breaker);
    }
    this.#cache({ target, breaker });
    return breaker;
  }

  #add(target: Target, { name, config, labels, isTelemetry }: Resolution): CircuitBreaker {
    const breaker = new CircuitBreaker(name, config);
    breaker.labels = labels;
    this.registry.register(breaker);
    // An agent that is away says nothing of the network of the application's own calls.
    if (isTelemetry) breaker.isPanic = undefined;
    this.#made.add(breaker, target);
    if (target.via !== undefined) this.#madeThrough(target.via).add(breaker, target);
    return breaker;
  }

  /** The breakers of calls through one plain proxy. */
  #madeThrough(via: string): Eviction {
    let made = this.#through.get(via);
    if (made === undefined) this.#through.set(via, (made = new Eviction(this.seams)));
    return made;
  }

  /** `undefined` where only the target can tell. */
  #isTelemetry(breaker: CircuitBreaker): true | undefined {
    return this.#telemetry.has(breaker) || undefined;
  }

  /** Whether there is room for the breaker of a target, or some has been made. */
  #hasRoom({ via }: Target): boolean {
    const { maxBreakers } = this.rules;
    if (via !== undefined) {
      // Whoever sends the calls of others on sends them anywhere: these must not push out those of our own.
      const through = this.#madeThrough(via);
      if (through.size >= Math.ceil(maxBreakers * SHARE_OF_PROXY) && !this.#evict(through)) return false;
    }
    return this.#made.size < maxBreakers || (this.#evict(this.#made) && this.#made.size < maxBreakers);
  }

  /** @returns whether one has gone */
  #evict(from: Eviction): boolean {
    const chosen = from.choose();
    if (chosen === undefined) return false;
    const { breaker, target } = chosen;
    const known = this.#removals;
    this.#drop(breaker, target);
    // Somebody else may have taken it out, or put another one in its place.
    if (this.registry.get(breaker.name) === breaker) this.registry.remove(breaker.name);
    // Of our own removals we know what they are about; only a breaker of many targets is worth starting over.
    if (known === this.registry.removals - 1 && 'server_address' in breaker.labels) {
      this.#removals = this.registry.removals;
      this.#forgetHost(target.host);
    }
    return true;
  }

  #drop(breaker: CircuitBreaker, { via }: Target): void {
    this.#made.remove(breaker);
    if (via === undefined) return;
    const through = this.#through.get(via);
    through?.remove(breaker);
    if (through?.size === 0) this.#through.delete(via);
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

  /** The breakers that were made here and that are still there, each with the targets it is known to be for. */
  #knownTargets(): Map<CircuitBreaker, Target[]> {
    const targets = new Map<CircuitBreaker, Target[]>();
    for (const { breaker, target } of [...this.#made]) {
      if (this.registry.get(breaker.name) === breaker) targets.set(breaker, [target]);
      else this.#drop(breaker, target);
    }
    for (const entries of [...this.#previous.values(), ...this.#byHost.values()]) {
      for (const { target, breaker } of entries) if (breaker !== undefined) targets.get(breaker)?.push(target);
    }
    return targets;
  }

  /** Brings new rules to a breaker that exists. */
  #apply(breaker: CircuitBreaker, targets: readonly Target[]): void {
    const isTelemetry = this.#isTelemetry(breaker);
    const resolutions = targets.map((target) => this.rules.resolve(target, isTelemetry));
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

/** Whether a call shows by its headers that an agent makes it. */
function isOfAgent(context: unknown): boolean {
  const call = context as Partial<CallContext> | null | undefined;
  return call?.header !== undefined && isTelemetryRequest((name) => call.header!(name));
}
