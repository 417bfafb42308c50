import { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { CircuitBreakerRegistry } from '../breaker/registry.js';
import { firstForCall, type Endpoint } from '../rules/match.js';
import type { Explanation, PartialRule, Resolution, RuleSet } from '../rules/rule-set.js';
import { isTelemetryRequest } from '../rules/telemetry-endpoints.js';
import { canExist, LastingTarget, normalizePath, type Target } from '../target.js';
import type { CallContext } from '../telemetry/events/call-context.js';
import { log } from '../telemetry/log.js';
import { BreakerUnderRule } from './breaker-under-rule.js';
import { Eviction, type EvictionSeams } from './eviction.js';

/** A breaker as the calls have it that ask for it. */
export type Guarded = CircuitBreaker | BreakerUnderRule;

interface Entry {
  readonly target: Target;
  /** `undefined` where the rules want none: mode `off`; and where rules tell its calls apart. */
  readonly breaker: CircuitBreaker | undefined;
  /** Where rules tell its calls apart by their path or method: what those have, by their rule. */
  readonly parts?: Parts;
}

interface Parts {
  readonly rules: readonly PartialRule[];
  /** By the rule of a call; under `undefined`, what calls have that no such rule fits. */
  readonly known: Map<PartialRule | undefined, Part>;
}

interface Part {
  readonly guarded: Guarded | undefined;
  /** The first call that had it, where its circuit is for some calls only. */
  readonly endpoint: Endpoint | undefined;
}

/** What a breaker is known to be for. */
interface Use {
  readonly target: Target;
  readonly endpoint: Endpoint | undefined;
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
  // Another one whenever what is known of a target may not hold any more.
  #epoch = {};
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
  of(target: Target, context?: unknown): Guarded | undefined {
    const entry = this.#find(target);
    if (entry === undefined) return this.#resolve(target, context);
    return entry.breaker ?? (entry.parts && this.#ofCall(target, entry.parts, context));
  }

  /** The breaker of a target, where there is one; not those of some calls only. */
  existing(target: Target): CircuitBreaker | undefined {
    const entry = this.#find(target);
    return entry === undefined || entry.parts !== undefined
      ? this.registry.get(this.rules.resolve(target).name)
      : entry.breaker;
  }

  /** The breakers of a target, those of some calls only among them. */
  *allOf(target: Target): Iterable<CircuitBreaker> {
    const known = this.#find(target)?.parts?.known.values();
    const circuits = new Set(Array.from(known ?? [], ({ guarded }) => guarded && circuitOf(guarded)));
    for (const breaker of circuits.add(this.existing(target))) if (breaker !== undefined) yield breaker;
  }

  /** The breaker of a target, made where there is none yet, whatever its mode and the limit. */
  insist(target: Target): CircuitBreaker {
    const guarded = this.of(target);
    if (guarded !== undefined) return circuitOf(guarded);
    const resolution = this.rules.resolve(target);
    this.#forgetHost(target.host);
    return this.registry.get(resolution.name) ?? this.#add(target, resolution);
  }

  /** Whether a call of any breaker has not ended yet. */
  get hasCallsInFlight(): boolean {
    for (const { tally } of this.registry) if (tally.inFlight > 0) return true;
    return false;
  }

  /** Where everything about a breaker comes from; `undefined` where it was not made here. */
  explain(breaker: CircuitBreaker): Explanation | undefined {
    const made = this.#made.get(breaker);
    const explanation = made && this.rules.explain(made.target, this.#isTelemetry(breaker), made.endpoint);
    return explanation?.name === breaker.name ? explanation : undefined;
  }

  /**
   * From now on these rules are in force. Breakers that exist keep their state and their counts; one whose target has
   * another name now takes that name.
   */
  useRules(rules: RuleSet): void {
    const uses = this.#knownUses();
    this.rules = rules;
    this.#saidFull = false;
    this.#forget();
    for (const [breaker, known] of uses) this.#apply(breaker, known);
  }

  #find(target: Target): Entry | undefined {
    if (this.#removals !== this.registry.removals) this.#forget();
    if (!(target instanceof LastingTarget)) return this.#lookUp(target);
    if (target.foundBy === this.#epoch) return target.found as Entry;
    const entry = this.#lookUp(target);
    if (entry !== undefined) {
      target.found = entry;
      target.foundBy = this.#epoch;
    }
    return entry;
  }

  #lookUp(target: Target): Entry | undefined {
    const entries = this.#byHost.get(target.host) ?? this.#promote(target.host);
    if (entries === undefined) return undefined;
    for (const entry of entries) {
      const { port, scheme, database, via } = entry.target;
      if (port !== target.port || scheme !== target.scheme) continue;
      if (database === target.database && via === target.via) return entry;
    }
    return undefined;
  }

  #resolve(target: Target, context: unknown): Guarded | undefined {
    // Such a name comes from a stranger: no call to it can succeed, and a megabyte of it must not get into every scrape.
    if (!canExist(target)) return undefined;
    const rules = this.rules.partsOf(target);
    if (rules !== undefined) {
      const parts = { rules, known: new Map() };
      this.#cache({ target, breaker: undefined, parts });
      return this.#ofCall(target, parts, context);
    }
    const part = this.#make(target, context);
    if (part === undefined) return this.#sayFull();
    // Without a rule for some calls only, it is the circuit itself.
    this.#cache({ target, breaker: part.guarded && circuitOf(part.guarded) });
    return part.guarded;
  }

  /** What one call has to a target whose calls rules tell apart. */
  #ofCall(target: Target, { rules, known }: Parts, context: unknown): Guarded | undefined {
    const rule = firstForCall(rules, (context ?? NO_ENDPOINT) as Endpoint);
    const part = known.get(rule) ?? this.#make(target, context, rule);
    if (part === undefined) return this.#sayFull();
    known.set(rule, part);
    return part.guarded;
  }

  /** @returns `undefined` where there is no room: not to be remembered, since there may be some the next time */
  #make(target: Target, context: unknown, rule?: PartialRule): Part | undefined {
    const isAgent = isOfAgent(context);
    const resolution = this.rules.resolve(target, isAgent || undefined, rule);
    const { name, config, ofCalls } = resolution;
    const endpoint = rule === undefined || ofCalls !== undefined ? undefined : endpointOf(context);
    // Also where a breaker made in code has the name: the rule is about calls to this target.
    if ((ofCalls ?? config).mode === 'off') return { guarded: undefined, endpoint };
    let breaker = this.registry.get(name);
    if (breaker === undefined) {
      if (!this.#hasRoom(target)) return undefined;
      breaker = this.#add(target, resolution, endpoint);
      if (isAgent) this.#telemetry.add(breaker);
    }
    return { guarded: ofCalls === undefined ? breaker : new BreakerUnderRule(breaker, ofCalls), endpoint };
  }

  #add(target: Target, { name, config, labels, isTelemetry }: Resolution, endpoint?: Endpoint): CircuitBreaker {
    const breaker = new CircuitBreaker(name, config);
    breaker.labels = labels;
    this.registry.register(breaker);
    // An agent that is away says nothing of the network of the application's own calls.
    if (isTelemetry) breaker.isPanic = undefined;
    this.#made.add(breaker, target, endpoint);
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
    const isFull = entries === undefined && this.#byHost.size >= MAX_CACHED_HOSTS;
    if (isFull) {
      this.#previous = this.#byHost;
      this.#byHost = new Map();
    }
    // Those in use ask again, and so are known here.
    if (isFull || entries !== undefined) this.#epoch = {};
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
    this.#epoch = {};
  }

  #forgetHost(host: string): void {
    this.#byHost.delete(host);
    this.#previous.delete(host);
    this.#epoch = {};
  }

  /** The breakers that were made here and that are still there, each with what it is known to be for. */
  #knownUses(): Map<CircuitBreaker, Use[]> {
    const uses = new Map<CircuitBreaker, Use[]>();
    for (const { breaker, target, endpoint } of [...this.#made]) {
      if (this.registry.get(breaker.name) === breaker) uses.set(breaker, [{ target, endpoint }]);
      else this.#drop(breaker, target);
    }
    for (const { target, breaker, parts } of [...this.#previous.values(), ...this.#byHost.values()].flat()) {
      const known = parts?.known.values() ?? [{ guarded: breaker, endpoint: undefined }];
      for (const { guarded, endpoint } of known) {
        if (guarded !== undefined) uses.get(circuitOf(guarded))?.push({ target, endpoint });
      }
    }
    return uses;
  }

  /** Brings new rules to a breaker that exists. */
  #apply(breaker: CircuitBreaker, uses: readonly Use[]): void {
    const isTelemetry = this.#isTelemetry(breaker);
    const resolutions = uses.map(({ target, endpoint }) =>
      this.rules.resolve(target, isTelemetry, this.rules.partOf(target, endpoint)),
    );
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

const NO_ENDPOINT: Endpoint = {};

function circuitOf(guarded: Guarded): CircuitBreaker {
  return guarded instanceof BreakerUnderRule ? guarded.breaker : guarded;
}

/** What is remembered of a call: its query could be a secret. */
function endpointOf(context: unknown): Endpoint {
  const { method, path } = (context ?? NO_ENDPOINT) as Endpoint;
  return { method, path: path === undefined ? undefined : normalizePath(path) };
}

/** Whether a call shows by its headers that an agent makes it. */
function isOfAgent(context: unknown): boolean {
  const call = context as Partial<CallContext> | null | undefined;
  return call?.header !== undefined && isTelemetryRequest((name) => call.header!(name));
}
