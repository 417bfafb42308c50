import { Announcements } from './announcements.js';
import { CircuitBreaker } from './circuit-breaker.js';
import type { BreakerObserver, Transition } from './observer.js';
import type { BreakerOptions } from './options.js';
import type { CircuitState } from './state.js';
import type { BreakerStats } from './tally.js';

/** How many circuits are in which state. */
export interface StateCounts {
  readonly closed: number;
  readonly open: number;
  readonly halfOpen: number;
}

/** How many of these circuits are in which state. */
export function countStates(breakers: Iterable<{ readonly state: CircuitState }>): StateCounts {
  const counts = { closed: 0, open: 0, half_open: 0 };
  for (const { state } of breakers) counts[state]++;
  return { closed: counts.closed, open: counts.open, halfOpen: counts.half_open };
}

/** The breakers of a registry at a glance. */
export interface HealthCheck extends StateCounts {
  /** No circuit in mode `enforce` is open for a target that has answered before, but for those whose next call is a probe. */
  readonly healthy: boolean;
  readonly total: number;
}

/** Hears of every breaker that enters or leaves a registry, and of what they do while they are in it. */
export interface RegistryObserver extends BreakerObserver<CircuitBreaker> {
  onAdded(breaker: CircuitBreaker): void;
  onRemoved(breaker: CircuitBreaker): void;
}

/** Breakers by name. */
export class CircuitBreakerRegistry implements Iterable<CircuitBreaker> {
  readonly #breakers = new Map<string, CircuitBreaker>();
  #observer: RegistryObserver | undefined;
  // From the first listener on.
  #announcements: Announcements | undefined;
  readonly #unheard = new WeakMap<CircuitBreaker, () => void>();
  /** @internal Grows with every breaker that leaves, so that whoever keeps references knows when to look again. */
  removals = 0;

  /** How many breakers there are. */
  get size(): number {
    return this.#breakers.size;
  }

  /**
   * The breaker of that name, made with these options where there is none yet.
   *
   * @param options without effect on a breaker that exists: the first one to ask for it decides
   * @throws ConfigError naming every option that is unknown or has a bad value
   */
  getOrCreate(name: string, options?: BreakerOptions): CircuitBreaker {
    return this.#breakers.get(name) ?? this.#add(new CircuitBreaker(name, options));
  }

  /** The breaker of that name, where there is one. */
  get(name: string): CircuitBreaker | undefined {
    return this.#breakers.get(name);
  }

  /**
   * Takes in a breaker that was made elsewhere.
   *
   * @throws Error where another breaker has its name: counts under one name must not come from two circuits
   */
  register(breaker: CircuitBreaker): void {
    const present = this.#breakers.get(breaker.name);
    if (present === breaker) return;
    if (present !== undefined) {
      throw new Error(
        `A circuit breaker named "${breaker.name}" is registered already. Remove it first, or use another name.`,
      );
    }
    this.#add(breaker);
  }

  /**
   * Takes a breaker out, and its metrics with it.
   *
   * @returns whether there was one; calls under way in it go on
   */
  remove(name: string): boolean {
    const breaker = this.#breakers.get(name);
    if (breaker === undefined) return false;
    this.#breakers.delete(name);
    this.removals++;
    this.#unheard.get(breaker)?.();
    breaker.observer = undefined;
    this.#observer?.onRemoved(breaker);
    return true;
  }

  /** @internal @returns false where the name is taken; then nothing changes */
  rename(breaker: CircuitBreaker, name: string): boolean {
    if (this.#breakers.has(name) || !this.remove(breaker.name)) return false;
    breaker.rename(name);
    this.#add(breaker);
    return true;
  }

  /** Takes all breakers out. */
  clear(): void {
    for (const name of this.listNames()) this.remove(name);
  }

  /** The names of all breakers, in the order they came. */
  listNames(): string[] {
    return [...this.#breakers.keys()];
  }

  /** `stats()` of all breakers. */
  getAllStats(): BreakerStats[] {
    return Array.from(this, (breaker) => breaker.stats());
  }

  /** Closes every circuit: see `CircuitBreaker.reset`. */
  resetAll(): void {
    for (const breaker of this) breaker.reset();
  }

  /** How many circuits are in which state. */
  stateCounts(): StateCounts {
    return countStates(this);
  }

  /** Whether any circuit is open; half-open ones do not count. */
  hasOpenCircuits(): boolean {
    return this.stateCounts().open > 0;
  }

  /**
   * Unhealthy while a circuit of mode `enforce` is open, is not yet due for a probe, and its target has answered before.
   * The counts are of the states as they are.
   */
  healthCheck(): HealthCheck {
    const healthy = !Array.from(this).some((breaker) => breaker.isUnhealthy);
    return { healthy, total: this.size, ...this.stateCounts() };
  }

  /**
   * Calls the listener after each change of state of any breaker in here, present and to come, as `CircuitBreaker.onTransition`
   * does.
   *
   * @returns a function that ends it
   */
  onTransition(listener: (transition: Transition) => void): () => void {
    if (this.#announcements === undefined) {
      this.#announcements = new Announcements();
      for (const breaker of this) this.#hear(breaker);
    }
    return this.#announcements.add(listener);
  }

  [Symbol.iterator](): IterableIterator<CircuitBreaker> {
    return this.#breakers.values();
  }

  /** @internal One observer sees all breakers, those present and those to come; `undefined` ends it. */
  observe(observer: RegistryObserver | undefined): void {
    const previous = this.#observer;
    this.#observer = observer;
    for (const breaker of this) {
      previous?.onRemoved(breaker);
      breaker.observer = observer;
      observer?.onAdded(breaker);
    }
  }

  #add(breaker: CircuitBreaker): CircuitBreaker {
    this.#breakers.set(breaker.name, breaker);
    breaker.observer = this.#observer;
    this.#observer?.onAdded(breaker);
    this.#hear(breaker);
    return breaker;
  }

  #hear(breaker: CircuitBreaker): void {
    const announcements = this.#announcements;
    if (announcements === undefined) return;
    const onTransition = (transition: Transition) =>
      announcements.announce({ transition, context: undefined }, () => {});
    this.#unheard.set(breaker, breaker.onTransition(onTransition));
  }
}

/** The registry of this process: where the preload and the helpers keep their breakers. */
export const globalRegistry = new CircuitBreakerRegistry();
