import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { OPEN } from '../breaker/state.js';
import type { Endpoint } from '../rules/match.js';
import type { Target } from '../target.js';

/** A breaker that the guard made. */
export interface Made {
  readonly breaker: CircuitBreaker;
  /** The first target that it was made for. */
  readonly target: Target;
  /** The first call that it was made for, where it is for some calls only. */
  readonly endpoint: Endpoint | undefined;
  /** How many calls it had when it was last looked at, and when it was first seen with that number. */
  calls: number;
  since: number;
}

/** Time and chance, so that tests can move them. */
export interface EvictionSeams {
  readonly now: () => number;
  readonly wallNow: () => number;
  readonly random: () => number;
}

// Captured at load: the fake timers of an application's tests must not decide who goes.
const realSeams: EvictionSeams = {
  now: performance.now.bind(performance),
  wallNow: Date.now,
  random: Math.random,
};

// A call must not wait for a search through any number of breakers that are all in use …
const LOOKS = 32;
// … nor, after a search in vain, each call to a further target for the next one.
const LOOKS_PER_CALL = 8;
// What a breaker has seen loses half of its worth with each such time without a call.
const HALF_LIFE = 60_000;
// Nobody calls this target any more. Until then, what has failed is remembered.
const ABANDONED = 10 * 60_000;

/** The breakers that the guard made, and which of them goes when there is no room for another one. */
export class Eviction {
  readonly #made: Made[] = [];
  readonly #places = new Map<CircuitBreaker, number>();
  #callsUntilSearch = 0;

  constructor(private readonly seams: EvictionSeams = realSeams) {}

  get size(): number {
    return this.#made.length;
  }

  [Symbol.iterator](): IterableIterator<Made> {
    return this.#made.values();
  }

  add(breaker: CircuitBreaker, target: Target, endpoint?: Endpoint): void {
    this.#places.set(breaker, this.#made.length);
    this.#made.push({ breaker, target, endpoint, calls: 1, since: this.seams.now() });
  }

  get(breaker: CircuitBreaker): Made | undefined {
    const place = this.#places.get(breaker);
    return place === undefined ? undefined : this.#made[place];
  }

  remove(breaker: CircuitBreaker): void {
    const place = this.#places.get(breaker);
    if (place === undefined) return;
    this.#places.delete(breaker);
    const last = this.#made.pop()!;
    if (last.breaker === breaker) return;
    this.#made[place] = last;
    this.#places.set(last.breaker, place);
  }

  /**
   * Of 32 random ones, the one that is worth the least: first what has no word on its target at all, then what has seen
   * the fewest calls lately. Never one that has calls in flight, that is open, or that answered and fails now, unless
   * nobody has called it for ten minutes.
   *
   * @returns `undefined` where none of them may go
   */
  choose(): Made | undefined {
    if (this.#callsUntilSearch > 0) {
      this.#callsUntilSearch--;
      return undefined;
    }
    const now = this.seams.now();
    const made = this.#made;
    const looks = Math.min(made.length, LOOKS);
    let chosen: Made | undefined;
    let least = Infinity;
    for (let look = 0; look < looks; look++) {
      const candidate = made.length <= LOOKS ? made[look]! : made[Math.floor(this.seams.random() * made.length)]!;
      const worth = worthOf(candidate, now, this.seams.wallNow);
      if (worth < least) [chosen, least] = [candidate, worth];
      if (worth === 0) break;
    }
    if (chosen === undefined) this.#callsUntilSearch = Math.floor(looks / LOOKS_PER_CALL);
    return chosen;
  }
}

/** 0 where nothing would be lost; `Infinity` where it must stay. */
function worthOf(made: Made, now: number, wallNow: () => number): number {
  const { breaker } = made;
  const { success, failure, ignored, inFlight } = breaker.tally;
  if (inFlight > 0) return Infinity;
  const calls = success + failure + ignored;
  const isIdle = calls <= made.calls;
  if (!isIdle) {
    made.calls = calls;
    made.since = now;
  }
  if (breaker.stateCode === OPEN) return isAbandoned(breaker, wallNow()) ? calls : Infinity;
  const answered = breaker.hasAnswered;
  if (!answered && failure === 0) return 0;
  const idleFor = now - made.since;
  // A host that answered and fails now, or is called all the time, is a dependency.
  if (answered && (!isIdle || (breaker.isFailing && idleFor < ABANDONED))) return Infinity;
  const worth = calls * 2 ** (-idleFor / HALF_LIFE);
  // Among those with as many calls, a dead host stays: it is on its way to open.
  return answered ? worth : worth + 0.5;
}

/** Whether an open circuit has waited in vain for a probe. One that was opened by hand waits for a hand. */
function isAbandoned(breaker: CircuitBreaker, wallNow: number): boolean {
  const { openUntil } = breaker.stats();
  return openUntil !== null && wallNow - openUntil.getTime() >= ABANDONED;
}
