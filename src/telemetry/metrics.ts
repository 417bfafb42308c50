import type { Attributes, BatchObservableResult, Meter, MeterProvider, Observable } from '@opentelemetry/api';
import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { CLOSED, OPEN, STATE_NAMES, TRANSITIONS } from '../breaker/state.js';
import { PACKAGE } from '../version.js';
import { DURATION_BOUNDS, Durations } from './durations.js';

type Observe = (value: number, attributes: Attributes) => void;

interface ObservedInstrument {
  /** The Prometheus exporter makes `_` of each `.`, and adds `_total` to a counter. */
  readonly name: string;
  readonly kind: 'gauge' | 'counter';
  readonly description: string;
  /** Tells the values of one breaker. */
  readonly observe: (breaker: CircuitBreaker, labels: Attributes, observe: Observe) => void;
}

/** Six of the seven metrics, as numbers read from a breaker at each collection; the seventh is the histogram below. */
export const OBSERVED: readonly ObservedInstrument[] = [
  {
    name: 'circuit_breaker.state',
    kind: 'gauge',
    description: 'State of the circuit: 0 closed, 1 open, 2 half-open',
    observe: (breaker, labels, observe) => observe(breaker.stateCode, labels),
  },
  {
    name: 'circuit_breaker.calls',
    kind: 'counter',
    description: 'Calls that asked the breaker, by what it said: allowed or rejected',
    observe: ({ tally }, labels, observe) => {
      observe(tally.success + tally.failure + tally.ignored + tally.inFlight, { ...labels, status: 'allowed' });
      observe(tally.rejectedOpen + tally.rejectedHalfOpen, { ...labels, status: 'rejected' });
    },
  },
  {
    name: 'circuit_breaker.successful_calls',
    kind: 'counter',
    description: 'Calls that succeeded',
    observe: ({ tally }, labels, observe) => observe(tally.success, labels),
  },
  {
    name: 'circuit_breaker.failed_calls',
    kind: 'counter',
    description: 'Calls that failed',
    observe: ({ tally }, labels, observe) => observe(tally.failure, labels),
  },
  {
    name: 'circuit_breaker.rejected_calls',
    kind: 'counter',
    description: 'Calls that were rejected, or would have been where enforced is false',
    observe: ({ tally }, labels, observe) => {
      // Enforced ones from the start, so that a rate can be seen from the first; the others where there are any.
      observe(tally.rejectedOpen, { ...labels, reason: 'open', enforced: 'true' });
      const others: [count: number, reason: string, enforced: string][] = [
        [tally.rejectedHalfOpen, 'half_open_limit', 'true'],
        [tally.unenforcedOpen, 'open', 'false'],
        [tally.unenforcedHalfOpen, 'half_open_limit', 'false'],
      ];
      for (const [count, reason, enforced] of others) if (count > 0) observe(count, { ...labels, reason, enforced });
    },
  },
  {
    name: 'circuit_breaker.state_transitions',
    kind: 'counter',
    description: 'Changes of state',
    observe: ({ transitions }, labels, observe) => {
      for (const [from, to] of TRANSITIONS) {
        const count = transitions?.[from * 3 + to] ?? 0;
        const fromStart = from === CLOSED && to === OPEN;
        if (count > 0 || fromStart) {
          observe(count, { ...labels, from_state: STATE_NAMES[from], to_state: STATE_NAMES[to] });
        }
      }
    },
  },
];

export const DURATION = {
  name: 'circuit_breaker.call.duration_seconds',
  description: 'Duration of calls that succeeded or failed',
  unit: 's',
};

interface Attachment {
  readonly meter: Meter;
  readonly instruments: readonly Observable[];
  readonly observe: (result: BatchObservableResult) => void;
  readonly record: (seconds: number, labels: Attributes) => void;
}

/**
 * Publishes the seven metrics of a set of breakers through the instruments of whatever provider there is.
 *
 * Nothing is recorded during a call: breakers keep plain numbers, and one callback reads them at each collection.
 */
export class BreakerMetrics {
  readonly #durations = new Map<CircuitBreaker, Durations>();
  #attachment: Attachment | undefined;

  add(breaker: CircuitBreaker): void {
    const durations = new Durations(breaker, this.#handOver);
    this.#durations.set(breaker, durations);
    breaker.recordDurations(durations);
  }

  remove(breaker: CircuitBreaker): void {
    const durations = this.#durations.get(breaker);
    if (durations !== undefined) this.#handOver(durations);
    this.#durations.delete(breaker);
    breaker.recordDurations(undefined);
  }

  /** Moves to a provider: everything counted so far is seen there too. */
  attach(provider: MeterProvider): void {
    this.detach();
    const meter = provider.getMeter(PACKAGE.name, PACKAGE.version);
    // No units: the Prometheus exporter would print a line for each. The name of the histogram says seconds.
    const instruments = OBSERVED.map(({ name, kind, description }) =>
      kind === 'gauge'
        ? meter.createObservableGauge(name, { description })
        : meter.createObservableCounter(name, { description }),
    );
    const { name, description, unit } = DURATION;
    const histogram = meter.createHistogram(name, {
      description,
      unit,
      advice: { explicitBucketBoundaries: [...DURATION_BOUNDS] },
    });
    this.#attachment = {
      meter,
      instruments,
      observe: (result) => this.#observe(result, instruments),
      record: (seconds, labels) => histogram.record(seconds, labels),
    };
    for (const durations of this.#durations.values()) durations.replay();
    meter.addBatchObservableCallback(this.#attachment.observe, [...instruments]);
  }

  detach(): void {
    if (this.#attachment === undefined) return;
    const { meter, observe, instruments } = this.#attachment;
    meter.removeBatchObservableCallback(observe, [...instruments]);
    this.#attachment = undefined;
  }

  /** Goes through the breakers, their labels and what they know of durations. */
  forEach(see: (breaker: CircuitBreaker, labels: Attributes, durations: Durations) => void): void {
    for (const [breaker, durations] of this.#durations) see(breaker, labelsOf(breaker), durations);
  }

  #observe(result: BatchObservableResult, instruments: readonly Observable[]): void {
    this.forEach((breaker, labels, durations) => {
      OBSERVED.forEach((instrument, index) => {
        const observable = instruments[index]!;
        instrument.observe(breaker, labels, (value, attributes) => result.observe(observable, value, attributes));
      });
      // Before the readers look: durations are in the same scrape as the counts that belong to them.
      this.#handOver(durations);
    });
  }

  readonly #handOver = (durations: Durations): void => {
    if (this.#attachment === undefined) return;
    const { record } = this.#attachment;
    const labels = labelsOf(durations.breaker);
    durations.handOver((seconds) => record(seconds, labels));
  };
}

function labelsOf(breaker: CircuitBreaker): Attributes {
  return { name: breaker.name, ...breaker.labels };
}
