import type { SpanContext } from '@opentelemetry/api';
import type { CircuitBreaker } from '../../breaker/circuit-breaker.js';
import type { Transition } from '../../breaker/observer.js';
import type { CircuitState } from '../../breaker/state.js';
import { errorType } from '../../telemetry/events/span-events.js';

/** A transition as it is remembered: numbers and words, so that no failure and no call is kept alive by it. */
export interface TransitionRecord {
  /** Grows by one with each transition of the process. */
  readonly sequence: number;
  readonly name: string;
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly at: Date;
  readonly reason: string;
  readonly errorType: string | undefined;
  readonly failureRate: number;
  readonly retryAfterMs: number | undefined;
  /** The span that carries the event. */
  readonly span: SpanContext | undefined;
}

const MAX_RECORDS = 300;
// So that a breaker's own last ones can still be read when another one flaps.
const MAX_RECORDS_PER_BREAKER = 20;

/** The last transitions of all breakers, and of each. */
export class TransitionLog {
  readonly #all: TransitionRecord[] = [];
  readonly #byBreaker = new WeakMap<CircuitBreaker, TransitionRecord[]>();
  readonly #listeners = new Set<(record: TransitionRecord) => void>();
  #sequence = 0;

  /** @param span the one that carries its event, where there is one */
  record(breaker: CircuitBreaker, transition: Transition, span: SpanContext | undefined): void {
    const { name, from, to, at, reason, cause, failureRate, retryAfterMs } = transition;
    const record: TransitionRecord = {
      sequence: ++this.#sequence,
      name,
      from,
      to,
      at,
      reason,
      errorType: cause === undefined ? undefined : errorType(cause),
      failureRate,
      retryAfterMs,
      span,
    };
    keep(this.#all, record, MAX_RECORDS);
    const own = this.#byBreaker.get(breaker);
    if (own === undefined) this.#byBreaker.set(breaker, [record]);
    else keep(own, record, MAX_RECORDS_PER_BREAKER);
    for (const listener of this.#listeners) listener(record);
  }

  /** The newest first. */
  latest(breaker?: CircuitBreaker): readonly TransitionRecord[] {
    return (breaker === undefined ? this.#all : (this.#byBreaker.get(breaker) ?? [])).toReversed();
  }

  /** @returns a function that ends it */
  onRecord(listener: (record: TransitionRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}

function keep<T>(list: T[], item: T, max: number): void {
  list.push(item);
  if (list.length > max) list.shift();
}
