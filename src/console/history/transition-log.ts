import type { SpanContext } from '@opentelemetry/api';
import type { CircuitBreaker } from '../../breaker/circuit-breaker.js';
import type { Transition } from '../../breaker/observer.js';
import type { CircuitState } from '../../breaker/state.js';
import { errorType } from '../../telemetry/events/span-events.js';
import { isTurningPoint } from '../../telemetry/names.js';
import { MAX_PROBES, MAX_TURNING_POINTS } from '../api.js';

/** Since when a circuit has not been closed. */
export interface Trouble {
  readonly since: Date;
  readonly reason: string;
  /** Calls that had been rejected before, or would have been. */
  readonly refusedBefore: number;
}

/** A transition as it is remembered: numbers and words, so that no failure and no call is kept alive by it. */
export interface TransitionRecord {
  /** Grows by one with each transition of the process. */
  readonly sequence: number;
  readonly name: string;
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly at: Date;
  readonly reason: string;
  /** What was done through the console. */
  readonly action: string | undefined;
  readonly errorType: string | undefined;
  readonly failureRate: number;
  readonly retryAfterMs: number | undefined;
  /** The span that carries the event. */
  readonly span: SpanContext | undefined;
}

// So that a breaker's own last ones can still be read when another one flaps: this many of either kind.
const MAX_PER_BREAKER = 10;

/** The last transitions, the oldest first: those of probes that failed apart from the others. */
interface Records {
  readonly turningPoints: TransitionRecord[];
  readonly probes: TransitionRecord[];
}

/** The last transitions of all breakers, and of each. */
export class TransitionLog {
  readonly #all = noRecords();
  readonly #byBreaker = new WeakMap<CircuitBreaker, Records>();
  readonly #listeners = new Set<(record: TransitionRecord) => void>();
  readonly #troubles = new WeakMap<CircuitBreaker, Trouble>();
  #sequence = 0;
  /** What is being done just now through the console. */
  #byHand: { readonly action: string; readonly reason: string; noted: boolean } | undefined;

  /** @param span the one that carries its event, where there is one */
  record(breaker: CircuitBreaker, transition: Transition, span: SpanContext | undefined): void {
    const { name, from, to, at, reason, cause, failureRate, retryAfterMs } = transition;
    const hand = this.#byHand;
    if (hand !== undefined) hand.noted = true;
    this.#add(breaker, {
      sequence: ++this.#sequence,
      name,
      from,
      to,
      at,
      reason: hand === undefined || hand.reason === '' ? reason : `${reason}: ${hand.reason}`,
      action: hand?.action,
      errorType: cause === undefined ? undefined : errorType(cause),
      failureRate,
      retryAfterMs,
      span,
    });
  }

  /**
   * Does something to a breaker through the console: its transition is remembered with the reason, and where it has none,
   * that something was done.
   *
   * @param words what was done, for the timeline
   * @param reason as whoever did it gave it; empty where none was given
   */
  doByHand(breaker: CircuitBreaker, action: string, words: string, reason: string, act: () => void): void {
    this.#byHand = { action, reason, noted: false };
    try {
      act();
      if (this.#byHand.noted) return;
      const { name, state } = breaker;
      const { failureRate } = breaker.stats();
      this.record(
        breaker,
        {
          name,
          from: state,
          to: state,
          at: new Date(),
          reason: words,
          cause: undefined,
          failureRate,
          retryAfterMs: undefined,
          by: 'hand',
        },
        undefined,
      );
    } finally {
      this.#byHand = undefined;
    }
  }

  #add(breaker: CircuitBreaker, record: TransitionRecord): void {
    const { from, to, at, reason } = record;
    if (to === 'closed') this.#troubles.delete(breaker);
    else if (from === 'closed') this.#troubles.set(breaker, { since: at, reason, refusedBefore: refusedBy(breaker) });
    let own = this.#byBreaker.get(breaker);
    if (own === undefined) this.#byBreaker.set(breaker, (own = noRecords()));
    if (isTurningPoint(from, to) || record.action !== undefined) {
      keep(this.#all.turningPoints, record, MAX_TURNING_POINTS);
      keep(own.turningPoints, record, MAX_PER_BREAKER);
    } else {
      keep(this.#all.probes, record, MAX_PROBES);
      keep(own.probes, record, MAX_PER_BREAKER);
    }
    for (const listener of this.#listeners) listener(record);
  }

  /** Since when the circuit has not been closed; `undefined` where it is. */
  trouble(breaker: CircuitBreaker): Trouble | undefined {
    return this.#troubles.get(breaker);
  }

  /** The number of the newest. */
  get sequence(): number {
    return this.#sequence;
  }

  /** The newest first. */
  latest(breaker?: CircuitBreaker): readonly TransitionRecord[] {
    const { turningPoints, probes } = breaker === undefined ? this.#all : (this.#byBreaker.get(breaker) ?? noRecords());
    return [...turningPoints, ...probes].sort((a, b) => b.sequence - a.sequence);
  }

  /** @returns a function that ends it */
  onRecord(listener: (record: TransitionRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}

/** How many calls it has rejected, or would have. */
export function refusedBy(breaker: CircuitBreaker): number {
  // Not in the parameters: declared types have no word of it.
  const { tally } = breaker;
  return tally.rejectedOpen + tally.rejectedHalfOpen + tally.unenforcedOpen + tally.unenforcedHalfOpen;
}

function noRecords(): Records {
  return { turningPoints: [], probes: [] };
}

function keep<T>(list: T[], item: T, max: number): void {
  list.push(item);
  if (list.length > max) list.shift();
}
