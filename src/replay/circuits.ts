import { CircuitBreaker, type BreakerSeams } from '../breaker/circuit-breaker.js';
import { resolveConfig, type BreakerConfig } from '../breaker/config.js';
import { CircuitOpenError } from '../breaker/errors.js';
import { LoopWatch } from '../breaker/event-loop-stalls.js';
import type { BreakerObserver, Transition } from '../breaker/observer.js';
import type { BreakerOptions } from '../breaker/options.js';
import type { Permit } from '../breaker/permit.js';
import { OPEN } from '../breaker/state.js';
import { Panic } from '../guard/panic.js';
import type { RuleSet } from '../rules/rule-set.js';
import type { System, Target } from '../target.js';
import { settle, verdictOf, type Endings } from './ending.js';
import { Lane } from './lane.js';
import type { Player } from './timeline.js';

/**
 * A span begins a little before its call asks, and ends a little after the circuit has heard: a call that comes so much too
 * early for a probe is one.
 */
export const PRECISION_MS = 40;

/** What is the same for all circuits that live through a recording. */
export interface Recording {
  readonly targets: readonly Target[];
  readonly endings: Endings;
}

export interface CircuitsOptions {
  /** Take the place of what the rules say. */
  readonly override?: BreakerOptions;
  /** Whether each change is to be told, and calls are to be counted over time. */
  readonly inFull?: boolean;
}

interface Guarded {
  readonly lane: Lane;
  readonly breaker: CircuitBreaker;
  /** The clock of this breaker: it never goes back. */
  now: number;
}

/** Calls that no circuit would have had a say in. */
interface Unguarded {
  calls: number;
}

/**
 * The circuits that a set of rules would have had: real ones, whose clock is moved from call to call. Rules in mode
 * `observe` are played as if they were enforced: what they would do is the question.
 */
export class Circuits implements Player {
  readonly lanes: Lane[] = [];
  readonly unguarded: Unguarded = { calls: 0 };
  /** How many times panic began. */
  panics = 0;
  readonly #byTarget: (Guarded | null)[] = [];
  readonly #byName = new Map<string, Guarded>();
  readonly #byBreaker = new Map<unknown, Guarded>();
  readonly #panic: Panic;
  readonly #observer: BreakerObserver<CircuitBreaker>;
  #now = 0;

  constructor(
    private readonly recording: Recording,
    private readonly rules: RuleSet,
    private readonly options: CircuitsOptions = {},
  ) {
    const breakers = this.#byName;
    const all: Iterable<CircuitBreaker> = {
      *[Symbol.iterator]() {
        for (const { breaker } of breakers.values()) yield breaker;
      },
    };
    this.#panic = new Panic(
      all,
      ({ active }) => {
        if (active) this.panics++;
      },
      () => this.#now,
    );
    this.#panic.threshold = rules.panicThreshold;
    this.#observer = {
      onTransition: (breaker, transition, context) => this.#onTransition(breaker, transition, context),
      onRejection: () => {},
    };
  }

  begin(now: number, durationMs: number, target: number, ending: number, longRunning: boolean): Permit | undefined {
    this.#now = now;
    let guarded = this.#byTarget[target];
    if (guarded === undefined) this.#byTarget[target] = guarded = this.#guard(target);
    if (guarded === null) {
      this.unguarded.calls++;
      return undefined;
    }
    const { breaker, lane } = guarded;
    const how = this.recording.endings.at(ending);
    const verdict = verdictOf(how, breaker.config);
    lane.called(now, durationMs, verdict);
    guarded.now = Math.max(guarded.now, now);
    if (breaker.stateCode === OPEN) {
      const until = breaker.stats().openUntil?.getTime() ?? Infinity;
      if (now < until && now >= until - PRECISION_MS) guarded.now = Math.max(guarded.now, until + 1);
    }
    const admission = breaker.tryAcquire(now, longRunning);
    if (!(admission instanceof CircuitOpenError)) return admission;
    lane.rejected(now, durationMs, verdict);
    return undefined;
  }

  end(now: number, permit: Permit, ending: number): void {
    this.#now = now;
    const guarded = this.#byBreaker.get(permit.breaker)!;
    guarded.now = Math.max(guarded.now, now);
    const how = this.recording.endings.at(ending);
    guarded.lane.ended(now, permit.context as number, verdictOf(how, guarded.breaker.config));
    settle(permit, how);
  }

  #onTransition(breaker: CircuitBreaker, transition: Transition, context: unknown): void {
    const guarded = this.#byBreaker.get(breaker)!;
    guarded.lane.changed(guarded.now, transition.from, transition.to, transition.reason);
    this.#panic.onTransition(breaker, transition, context);
  }

  /** @returns `null` where the rules want no breaker */
  #guard(number: number): Guarded | null {
    const target = this.recording.targets[number]!;
    const { name, config, labels, isTelemetry } = this.rules.resolve(target);
    if (config.mode === 'off') return null;
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const mode = isTelemetry ? config.mode : 'enforce';
    const breaker = this.#make(name, configured({ ...config, mode }, this.options.override));
    breaker.breaker.labels = labels;
    if (!isTelemetry) this.#panic.watch(breaker.breaker);
    const guarded = Object.assign(breaker, { lane: this.#lane(name, target.system, breaker.breaker.config) });
    this.#byName.set(name, guarded);
    this.#byBreaker.set(guarded.breaker, guarded);
    return guarded;
  }

  #lane(name: string, system: System, config: BreakerConfig): Lane {
    const lane = new Lane(name, system, config, this.options.inFull ?? false);
    this.lanes.push(lane);
    return lane;
  }

  #make(name: string, config: BreakerConfig): { breaker: CircuitBreaker; now: number } {
    const clock = { now: this.#now };
    const loop = new LoopWatch();
    // Nobody knows whether the loop of the recorded process stood.
    loop.due = Infinity;
    const now = () => made.now;
    // In the middle: as long as the rules say, without jitter.
    const seams: BreakerSeams = { now, wallNow: now, random: () => 0.5, loop };
    const made = Object.assign(clock, { breaker: undefined as unknown as CircuitBreaker });
    made.breaker = new CircuitBreaker(name, config, seams);
    made.breaker.timeCalls();
    made.breaker.observer = this.#observer;
    return made;
  }
}

/** Options that fit together, also where one of them is now longer than another that was not meant to bound it. */
function configured(config: BreakerConfig, override: BreakerOptions = {}): BreakerConfig {
  const options = { ...config, ...override };
  const { openDuration } = resolveConfig({ openDuration: options.openDuration });
  return resolveConfig({
    ...options,
    initialOpenDuration: Math.min(config.initialOpenDuration, openDuration),
    maxOpenDuration: Math.max(config.maxOpenDuration, openDuration),
  });
}
