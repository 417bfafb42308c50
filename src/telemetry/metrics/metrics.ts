import type { Attributes, BatchObservableResult, Meter, MeterProvider, Observable } from '@opentelemetry/api';
import type { CircuitBreaker } from '../../breaker/circuit-breaker.js';
import type { DurationKeeper } from '../../breaker/observer.js';
import type { Mode } from '../../breaker/options.js';
import type { Tally } from '../../breaker/tally.js';
import { CLOSED, OPEN, STATE_NAMES, TRANSITIONS, type StateCode } from '../../breaker/state.js';
import { PACKAGE } from '../../version.js';
import { DURATION_BOUNDS, Durations, type DurationTotals } from './durations.js';
import type { FailureTrace } from '../events/span-events.js';
import { log } from '../log.js';
import { METRIC } from '../names.js';

type Observe = (value: number, attributes: Attributes) => void;

/** What metrics are made of that are read from a breaker. */
interface Counted {
  readonly stateCode: StateCode;
  readonly config: { readonly mode: Mode };
  readonly tally: Readonly<Tally>;
  readonly transitions: readonly number[] | undefined;
  /** What a fleet says of the target; `undefined` where none shares the breaker. */
  readonly fleetState?: StateCode | undefined;
}

/** What health is judged by, as plain data that can cross to another thread or process. */
export interface Standing {
  /** Its name among them. */
  readonly labels: Attributes;
  readonly stateCode: StateCode;
  readonly config: { readonly mode: Mode };
  readonly hasAnswered: boolean;
  readonly isUnhealthy: boolean;
}

/** All that metrics say of one breaker, as plain data as well. */
export interface BreakerNumbers extends Counted, Standing {
  /** `undefined` where no call succeeded or failed yet. */
  readonly durations: DurationTotals | undefined;
  /** The last failing call that was traced. */
  readonly lastFailure?: FailureTrace | undefined;
}

/** What metrics say of a process, or of a thread, as a whole; a value that is `undefined` has no metric yet. */
export interface ProcessNumbers {
  /** Whether panic is on: too many targets are lost, and no circuit rejects. */
  readonly panic: boolean | undefined;
  /** Whether the rules file could be taken when it was last read. */
  readonly rulesReloaded: boolean | undefined;
  /** Of the fleet that it is a part of. */
  readonly fleet?: FleetNumbers | undefined;
}

/** How a process stands to its fleet. */
export interface FleetNumbers {
  /** Whether the engine answers, and answers in time. */
  readonly connected: boolean;
  readonly replicas: number;
  /** Requests that were answered, and that were not. */
  readonly ok: number;
  readonly failed: number;
}

/** All that metrics say. */
export interface Numbers {
  readonly breakers: readonly BreakerNumbers[];
  readonly processes: readonly (ProcessNumbers & { readonly labels: Attributes })[];
}

interface ObservedInstrument {
  readonly name: string;
  readonly kind: 'gauge' | 'counter';
  readonly description: string;
  /** Tells the values of one breaker. */
  readonly observe: (breaker: Counted, labels: Attributes, observe: Observe) => void;
}

/** Metrics that are numbers read from a breaker at each collection; the histogram below is not one of them. */
export const OBSERVED: readonly ObservedInstrument[] = [
  {
    name: METRIC.state,
    kind: 'gauge',
    description: 'State of the circuit: 0 closed, 1 open, 2 half-open',
    observe: (breaker, labels, observe) => observe(breaker.stateCode, labels),
  },
  {
    name: METRIC.calls,
    kind: 'counter',
    description: 'Calls that asked the breaker, by what it said: allowed or rejected',
    observe: ({ tally }, labels, observe) => {
      observe(tally.success + tally.failure + tally.ignored + tally.inFlight, { ...labels, status: 'allowed' });
      observe(tally.rejectedOpen + tally.rejectedHalfOpen, { ...labels, status: 'rejected' });
    },
  },
  {
    name: METRIC.successfulCalls,
    kind: 'counter',
    description: 'Calls that succeeded',
    observe: ({ tally }, labels, observe) => observe(tally.success, labels),
  },
  {
    name: METRIC.failedCalls,
    kind: 'counter',
    description: 'Calls that failed',
    observe: ({ tally }, labels, observe) => observe(tally.failure, labels),
  },
  {
    name: METRIC.rejectedCalls,
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
    name: METRIC.transitions,
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
  {
    name: METRIC.mode,
    kind: 'gauge',
    description: 'Mode of a breaker that does not enforce: 1 observe',
    observe: ({ config }, labels, observe) => {
      if (config.mode === 'observe') observe(1, labels);
    },
  },
  {
    name: METRIC.fleetState,
    kind: 'gauge',
    description: 'What the fleet says of the target: 0 it is well, 1 its circuit is to be open',
    observe: ({ fleetState }, labels, observe) => {
      if (fleetState !== undefined) observe(fleetState, labels);
    },
  },
];

const MODE = OBSERVED.findIndex(({ name }) => name === METRIC.mode);

/** Whether metrics describe a breaker: in mode `off` there is none for its calls, and nothing to count. */
export function isDescribed({ config }: Pick<Counted, 'config'>): boolean {
  return config.mode !== 'off';
}

/** Metrics of the process as a whole. */
export const OBSERVED_OF_PROCESS: readonly {
  readonly name: string;
  readonly kind: 'gauge' | 'counter';
  readonly description: string;
  /** Tells its values, each with labels of its own; none where there is nothing to tell yet. */
  readonly observe: (
    process: ProcessNumbers,
    observe: (value: boolean | number | undefined, labels?: Attributes) => void,
  ) => void;
}[] = [
  {
    name: METRIC.panic,
    kind: 'gauge',
    description: 'Whether so many targets are lost at once that no circuit rejects: 1 yes, 0 no longer',
    observe: ({ panic }, observe) => observe(panic),
  },
  {
    name: METRIC.rulesReloaded,
    kind: 'gauge',
    description: 'Whether the rules file could be taken when it was last read: 1 yes, 0 the rules before are in force',
    observe: ({ rulesReloaded }, observe) => observe(rulesReloaded),
  },
  {
    name: METRIC.fleetConnected,
    kind: 'gauge',
    description: 'Whether the fleet is reached: 1 yes, 0 no, circuits decide by themselves',
    observe: ({ fleet }, observe) => observe(fleet?.connected),
  },
  {
    name: METRIC.fleetReplicas,
    kind: 'gauge',
    description: 'Replicas of the fleet that live',
    observe: ({ fleet }, observe) => observe(fleet?.replicas),
  },
  {
    name: METRIC.fleetCommands,
    kind: 'counter',
    description: 'Requests to the engine of the fleet, by what became of them: ok or failed',
    observe: ({ fleet }, observe) => {
      observe(fleet?.ok, { result: 'ok' });
      observe(fleet?.failed, { result: 'failed' });
    },
  },
];

export const DURATION = {
  name: METRIC.duration,
  description: 'Duration of calls that succeeded or failed',
  unit: 's',
} as const;

// A provider keeps every series it was ever told of, about 2 KB for each breaker; breakers come and go with the hosts that
// are called.
const MAX_NAMES = 10_000;

interface Attachment {
  readonly meter: Meter;
  readonly instruments: readonly Observable[];
  readonly observe: (result: BatchObservableResult) => void;
  readonly record: (seconds: number, labels: Attributes) => void;
  /** Of all breakers that it was told of, gone ones as well. */
  readonly names: Set<string>;
  /** Of those that it was told are in mode `observe`. */
  readonly observing: Set<string>;
}

/** Nothing to tell of the process. */
export const NOTHING_YET: ProcessNumbers = { panic: undefined, rulesReloaded: undefined };

/**
 * The metrics of a set of breakers: through the instruments of the application's provider, or as plain numbers.
 *
 * Nothing is recorded during a call: breakers keep plain numbers, and one callback reads them at each collection.
 */
export class BreakerMetrics implements DurationKeeper<CircuitBreaker> {
  /** Of all breakers; the durations from the first call on, which many breakers of a large registry never see. */
  readonly #durations = new Map<CircuitBreaker, Durations | undefined>();
  /** Of breakers that were taken out: one that comes back under another name has made its calls. */
  readonly #removed = new WeakMap<CircuitBreaker, Durations>();
  #attachment: Attachment | undefined;
  #saidFull = false;

  /**
   * @param process what there is to tell of the process as a whole
   * @param lastFailure the last failing call of a breaker that was traced
   */
  constructor(
    readonly process: () => ProcessNumbers = () => NOTHING_YET,
    readonly lastFailure: (breaker: CircuitBreaker) => FailureTrace | undefined = () => undefined,
  ) {}

  add(breaker: CircuitBreaker): void {
    const known = this.#durations.get(breaker) ?? this.#removed.get(breaker);
    this.#removed.delete(breaker);
    this.#durations.set(breaker, known);
    // A provider has heard of them under the name that the breaker had.
    if (this.#attachment !== undefined) known?.replay();
    breaker.recordDurations(this);
  }

  recorderOf(breaker: CircuitBreaker): Durations {
    let durations = this.#durations.get(breaker);
    if (durations === undefined) this.#durations.set(breaker, (durations = new Durations(breaker, this.#handOver)));
    return durations;
  }

  remove(breaker: CircuitBreaker): void {
    const durations = this.#durations.get(breaker);
    if (durations !== undefined) {
      this.#handOver(durations);
      this.#removed.set(breaker, durations);
    }
    if (this.#durations.delete(breaker)) breaker.recordDurations(undefined);
  }

  /** How long the calls of a breaker took; `undefined` where none has ended yet. */
  durationsOf(breaker: CircuitBreaker): DurationTotals | undefined {
    return this.#durations.get(breaker)?.totals();
  }

  /** What there is to tell of each breaker now: copies, which do not change while they are written down. */
  numbers(): BreakerNumbers[] {
    this.#lookForHangingCalls();
    return Array.from(this.#durations, ([breaker, durations]) => {
      const { labels, stateCode, config, hasAnswered, isUnhealthy } = standingOf(breaker);
      // Written out: a spread and further fields behind it take three times as long.
      return {
        labels,
        stateCode,
        config,
        hasAnswered,
        isUnhealthy,
        tally: { ...breaker.tally },
        transitions: breaker.transitions?.slice(),
        fleetState: breaker.fleetState,
        durations: durations?.totals(),
        lastFailure: this.lastFailure(breaker),
      };
    });
  }

  /** Moves to a provider: everything counted so far is seen there too. */
  attach(provider: MeterProvider): void {
    this.detach();
    const meter = provider.getMeter(PACKAGE.name, PACKAGE.version);
    // No units: the Prometheus exporter would print a line for each. The name of the histogram says seconds.
    const ofBreakers = OBSERVED.map(({ name, kind, description }) =>
      kind === 'gauge'
        ? meter.createObservableGauge(name, { description })
        : meter.createObservableCounter(name, { description }),
    );
    const ofProcess = OBSERVED_OF_PROCESS.map(({ name, kind, description }) =>
      kind === 'gauge'
        ? meter.createObservableGauge(name, { description })
        : meter.createObservableCounter(name, { description }),
    );
    const instruments = [...ofBreakers, ...ofProcess];
    const histogram = meter.createHistogram(DURATION.name, {
      description: DURATION.description,
      unit: DURATION.unit,
      advice: { explicitBucketBoundaries: [...DURATION_BOUNDS] },
    });
    this.#attachment = {
      meter,
      instruments,
      observe: (result) => {
        this.#observe(result, ofBreakers);
        this.#observeProcess(result, ofProcess);
      },
      record: (seconds, labels) => histogram.record(seconds, labels),
      names: new Set(),
      observing: new Set(),
    };
    for (const durations of this.#durations.values()) durations?.replay();
    meter.addBatchObservableCallback(this.#attachment.observe, instruments);
  }

  detach(): void {
    if (this.#attachment === undefined) return;
    const { meter, observe, instruments } = this.#attachment;
    meter.removeBatchObservableCallback(observe, [...instruments]);
    this.#attachment = undefined;
  }

  // A target whose calls all hang gets no further call that could tell.
  #lookForHangingCalls(): void {
    for (const breaker of this.#durations.keys()) breaker.tellOfHangingCalls();
  }

  #observe(result: BatchObservableResult, instruments: readonly Observable[]): void {
    this.#lookForHangingCalls();
    const { names, observing } = this.#attachment!;
    for (const [breaker, durations] of this.#durations) {
      const { name, config } = breaker;
      // A provider repeats what it heard last: where that was an open circuit, it has to hear that this is over.
      if (!isDescribed(breaker) && !names.has(name)) continue;
      if (!this.#hasRoomFor(breaker)) continue;
      const labels = labelsOf(breaker);
      OBSERVED.forEach((instrument, index) => {
        const observable = instruments[index]!;
        instrument.observe(breaker, labels, (value, attributes) => result.observe(observable, value, attributes));
      });
      // And where it was mode `observe`, no alert would ever speak of this breaker again.
      if (config.mode === 'observe') observing.add(name);
      else if (observing.has(name)) result.observe(instruments[MODE]!, 0, labels);
      // Before the readers look: durations are in the same scrape as the counts that belong to them.
      if (durations !== undefined) this.#handOver(durations);
    }
  }

  #observeProcess(result: BatchObservableResult, instruments: readonly Observable[]): void {
    const process = this.process();
    OBSERVED_OF_PROCESS.forEach(({ observe }, index) => {
      observe(process, (value, labels) => {
        if (value !== undefined) result.observe(instruments[index]!, Number(value), labels);
      });
    });
  }

  // One function for all breakers, not one for each.
  readonly #handOver = (durations: Durations): void => {
    if (this.#attachment === undefined || !this.#hasRoomFor(durations.breaker)) return;
    const { record } = this.#attachment;
    const labels = labelsOf(durations.breaker);
    durations.handOver((seconds) => record(seconds, labels));
  };

  #hasRoomFor({ name }: CircuitBreaker): boolean {
    const { names } = this.#attachment!;
    if (names.has(name)) return true;
    if (names.size >= MAX_NAMES) {
      if (!this.#saidFull) {
        log.warn(
          `metrics of ${MAX_NAMES} circuit breakers have been published, and a provider forgets none: further ones are not. ` +
            'Let targets share a breaker by the name of a rule',
        );
      }
      this.#saidFull = true;
      return false;
    }
    names.add(name);
    return true;
  }
}

/** What health is judged by, of one breaker. */
export function standingOf(breaker: CircuitBreaker): Standing {
  const { stateCode, hasAnswered, isUnhealthy } = breaker;
  return { labels: labelsOf(breaker), stateCode, config: { mode: breaker.config.mode }, hasAnswered, isUnhealthy };
}

function labelsOf(breaker: CircuitBreaker): Attributes {
  return { name: breaker.name, ...breaker.labels };
}
