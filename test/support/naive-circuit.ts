import type { BreakerConfig } from '../../src/breaker/config.js';

type Outcome = 'success' | 'failure' | 'ignored';

/** One call that the model let through. */
export interface NaiveCall {
  readonly startedAt: number;
  readonly longRunning: boolean;
  /** Which life of the circuit it belongs to; `undefined` where its outcome has no say. */
  life: number | undefined;
}

interface Ended {
  slot: number;
  readonly failed: boolean;
  readonly slow: boolean;
}

// The window is promised to be exact to a tenth of its length.
const SLOTS = 10;

/**
 * What a circuit should do, written down for reading and not for speed: it remembers every call and looks through all
 * of them whenever it is asked something.
 */
export class NaiveCircuit {
  state: 'closed' | 'open' | 'half_open' = 'closed';
  readonly totals = { success: 0, failure: 0, ignored: 0, rejected: 0, wouldReject: 0 };
  asked = 0;
  inFlight: NaiveCall[] = [];
  failuresInARow = 0;
  successesInARow = 0;
  changes = 0;
  /** Infinity where it was opened by hand. */
  openUntil = 0;

  #life = 0;
  #ended: Ended[] = [];
  #timesOpened = 0;

  constructor(
    public config: BreakerConfig,
    private readonly now: () => number,
    private readonly chance: () => number,
  ) {}

  /** @returns the call, or why there is none */
  acquire(longRunning: boolean): NaiveCall | 'open' | 'half_open' {
    this.asked++;
    if (this.state === 'closed') this.#openIfSlow();
    if (this.state === 'open' && this.now() >= this.openUntil) this.#change('half_open');
    if (this.state === 'closed') return this.#start(longRunning, this.#life);
    if (this.state === 'half_open' && this.#mayProbe(longRunning)) return this.#start(longRunning, this.#life);
    if (this.config.mode === 'observe') {
      this.totals.wouldReject++;
      return this.#start(longRunning, undefined);
    }
    this.totals.rejected++;
    return this.state;
  }

  end(call: NaiveCall, outcome: Outcome, holdMs = 0): void {
    this.inFlight = this.inFlight.filter((other) => other !== call);
    this.totals[outcome]++;
    if (call.life !== this.#life || outcome === 'ignored') return;

    const failed = outcome === 'failure';
    this.failuresInARow = failed ? this.failuresInARow + 1 : 0;
    this.successesInARow = failed ? 0 : this.successesInARow + 1;
    if (this.state === 'closed') this.#ended.push({ slot: this.#slot(), failed, slow: this.#isSlow(call) });

    if (failed && holdMs > 0) this.#open(Math.min(holdMs, this.config.maxOpenDuration));
    else if (this.state === 'half_open') {
      if (failed) this.#open();
      else if (this.successesInARow >= this.config.successThreshold) this.#change('closed');
    } else {
      const { failureThreshold, minimumCalls, failureRateThreshold } = this.config;
      const recent = this.#recent();
      const failures = recent.filter((ended) => ended.failed).length;
      if (this.failuresInARow >= failureThreshold) this.#open();
      else if (recent.length >= minimumCalls && failures >= recent.length * failureRateThreshold) this.#open();
      else this.#openIfSlow();
    }
  }

  forceOpen(): void {
    if (this.state === 'open') this.openUntil = Infinity;
    else this.#open(Infinity);
  }

  reset(): void {
    if (this.state === 'closed') this.#begin();
    else this.#change('closed');
  }

  /** Calls of one window move into the newest slot of another. */
  reconfigure(config: BreakerConfig): void {
    const recent = this.#recent();
    const moved = config.window !== this.config.window;
    this.config = config;
    if (moved) for (const ended of recent) ended.slot = this.#slot();
  }

  failureRate(): number {
    const recent = this.#recent();
    return recent.length === 0 ? 0 : recent.filter((ended) => ended.failed).length / recent.length;
  }

  slowCallRate(): number {
    const overdue = this.#overdue().length;
    const recent = this.#recent();
    const calls = recent.length + overdue;
    return calls === 0 ? 0 : (recent.filter((ended) => ended.slow).length + overdue) / calls;
  }

  probes(): NaiveCall[] {
    return this.state === 'half_open' ? this.inFlight.filter((call) => call.life === this.#life) : [];
  }

  #mayProbe(longRunning: boolean): boolean {
    const { halfOpenMaxCalls, halfOpenTimeout } = this.config;
    if (longRunning) return false;
    if (this.probes().length >= halfOpenMaxCalls) {
      for (const probe of this.probes()) {
        if (this.now() - probe.startedAt >= halfOpenTimeout) probe.life = undefined;
      }
    }
    return this.probes().length < halfOpenMaxCalls;
  }

  #start(longRunning: boolean, life: number | undefined): NaiveCall {
    const call = { startedAt: this.now(), longRunning, life };
    this.inFlight.push(call);
    return call;
  }

  #isSlow(call: NaiveCall): boolean {
    const { slowCallDuration = Infinity } = this.config;
    return !call.longRunning && this.now() - call.startedAt >= slowCallDuration;
  }

  #overdue(): NaiveCall[] {
    if (this.state !== 'closed') return [];
    return this.inFlight.filter((call) => call.life === this.#life && this.#isSlow(call));
  }

  #openIfSlow(): void {
    const { slowCallDuration, minimumCalls, slowCallRateThreshold } = this.config;
    if (slowCallDuration === undefined) return;
    const calls = this.#recent().length + this.#overdue().length;
    const slow = this.#recent().filter((ended) => ended.slow).length + this.#overdue().length;
    if (calls >= minimumCalls && slow >= calls * slowCallRateThreshold) this.#open();
  }

  #slot(): number {
    return Math.floor(this.now() / (this.config.window / SLOTS));
  }

  #recent(): Ended[] {
    this.#ended = this.#ended.filter((ended) => ended.slot > this.#slot() - SLOTS);
    return this.#ended;
  }

  #open(duration = this.#nextDuration()): void {
    this.openUntil = this.now() + duration;
    this.#timesOpened++;
    this.#change('open');
  }

  #nextDuration(): number {
    const { openDuration, openBackoff, openJitter, maxOpenDuration } = this.config;
    let duration = openDuration;
    for (let time = 0; time < this.#timesOpened; time++) duration = Math.min(duration * openBackoff, maxOpenDuration);
    return Math.min(duration * (1 - openJitter + 2 * openJitter * this.chance()), maxOpenDuration);
  }

  #change(state: NaiveCircuit['state']): void {
    this.state = state;
    this.changes++;
    this.#begin();
  }

  #begin(): void {
    this.#life++;
    this.successesInARow = 0;
    if (this.state !== 'closed') return;
    this.failuresInARow = 0;
    this.#timesOpened = 0;
    this.#ended = [];
  }
}
