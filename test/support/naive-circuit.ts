import type { BreakerConfig } from '../../src/breaker/config.js';
import { NaivePatience } from './naive-patience.js';

type Outcome = 'success' | 'failure' | 'ignored';

/** One call that the model let through. */
export interface NaiveCall {
  readonly startedAt: number;
  readonly longRunning: boolean;
  /** Which life of the circuit it belongs to; `undefined` where its outcome has no say. */
  life: number | undefined;
  /** A probe that nothing was heard of yet, and that others wait for. */
  holdsSlot: boolean;
  /** When a good answer began. */
  answeredAt: number | undefined;
  /** Its good answer has counted. */
  counted: boolean;
  readonly wasProbe: boolean;
}

interface Ended {
  slot: number;
  readonly failed: boolean;
  readonly slow: boolean;
  /** Given up, and slow by then. */
  readonly noVerdict: boolean;
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
  #fullOpenings = 0;
  #openedBySlowness = false;
  #openedUnreachable = false;
  #allUnreachable = true;
  #sawLife = false;
  #heldUntil = 0;
  #leftClosedAt = 0;
  #closedAt = -Infinity;
  #troubleBefore = 0;
  #probesDone = { good: 0, bad: 0 };
  /** Since when the share of calls grows, and what of a call is saved up. */
  #recovering: { readonly since: number; saved: number } | undefined;

  // Where it is known of each call when it began.
  #patience: NaivePatience | undefined;

  constructor(
    public config: BreakerConfig,
    private readonly now: () => number,
    private readonly chance: () => number,
  ) {}

  /** @returns the call, or why there is none */
  acquire(longRunning: boolean): NaiveCall | 'open' | 'half_open' {
    this.asked++;
    if (this.#isInUse()) this.#openIfSlow();
    if (this.state === 'open' && this.now() >= this.openUntil) this.#change('half_open');
    if (this.#probing()) this.#countGoodAnswers();
    const recovering = this.#recovering;
    if (recovering !== undefined && this.now() - recovering.since >= this.config.recoveryDuration)
      this.#change('closed');
    if (this.state === 'closed' || this.#letsThrough()) return this.#start(longRunning, this.#life);
    if (this.#probing() && this.#mayProbe(longRunning)) return this.#start(longRunning, this.#life, true);
    if (this.config.mode === 'observe') {
      this.totals.wouldReject++;
      return this.#start(longRunning, undefined);
    }
    this.totals.rejected++;
    return this.state;
  }

  #isInUse(): boolean {
    return this.state === 'closed' || this.#recovering !== undefined;
  }

  #probing(): boolean {
    return this.state === 'half_open' && this.#recovering === undefined;
  }

  /** From a tenth of all calls to all of them. */
  #letsThrough(): boolean {
    const recovering = this.#recovering;
    if (recovering === undefined) return false;
    recovering.saved += Math.min(1, 0.1 + (1 - 0.1) * ((this.now() - recovering.since) / this.config.recoveryDuration));
    if (recovering.saved < 1) return false;
    recovering.saved--;
    return true;
  }

  /** A good answer to a call begins. */
  answer(call: NaiveCall): void {
    if (call.answeredAt !== undefined) return;
    this.#patience?.answered(startOf(call), this.now());
    call.answeredAt = this.now();
    call.holdsSlot = false;
  }

  /** From now on. */
  timeCalls(): void {
    this.#patience = new NaivePatience();
  }

  timeout(call: NaiveCall): void {
    this.#patience?.waited(startOf(call), this.now());
    this.end(call, 'failure');
  }

  /** Its caller gives it up. */
  abandon(call: NaiveCall): void {
    if (call.answeredAt !== undefined) return this.end(call, 'success');
    const { abandonedAfter } = this.config;
    const patience = this.#patience;
    if (patience === undefined || abandonedAfter === 'off') return this.end(call, 'ignored');
    patience.waited(startOf(call), this.now());
    const said = patience.judge(startOf(call), this.now(), abandonedAfter);
    const tooEarly = this.#hasSay(call) && patience.mayBeStarting(abandonedAfter) && this.#oneMoreWouldOpen();
    if (said === 'nothing' || tooEarly) this.end(call, 'ignored');
    else if (said === 'timeout') this.end(call, 'failure');
    else this.#endForRateOnly(call);
  }

  #endForRateOnly(call: NaiveCall): void {
    this.inFlight = this.inFlight.filter((other) => other !== call);
    this.totals.failure++;
    if (!this.#hasSay(call) || !this.#isInUse()) return;
    this.#ended.push({ slot: this.#slot(), failed: true, slow: this.#isSlow(call), noVerdict: false });
    this.#openIfFailing();
  }

  #oneMoreWouldOpen(): boolean {
    const { failureThreshold, minimumCalls, failureRateThreshold } = this.config;
    if (this.#probing() || this.failuresInARow + 1 >= failureThreshold) return true;
    const calls = this.#judged().length + 1;
    return (
      calls >= minimumCalls && this.#judged().filter(({ failed }) => failed).length + 1 >= calls * failureRateThreshold
    );
  }

  /** @param unreachable what a failure says: that no connection could be made */
  end(call: NaiveCall, outcome: Outcome, holdMs = 0, unreachable = false): void {
    if (outcome === 'success' && call.answeredAt === undefined) this.#patience?.answered(startOf(call), this.now());
    this.inFlight = this.inFlight.filter((other) => other !== call);
    this.totals[outcome]++;
    const hold = Math.min(holdMs, this.config.maxOpenDuration);
    if (!this.#hasSay(call)) {
      if (outcome === 'failure' && hold > 0 && this.state === 'open') this.#hold(hold);
      return;
    }
    if (outcome === 'ignored') {
      if (!this.#isInUse() || !this.#isSlow(call)) return;
      this.#ended.push({ slot: this.#slot(), failed: false, slow: true, noVerdict: true });
      this.#openIfSlow();
      return;
    }

    const failed = outcome === 'failure';
    if (!failed && this.#probing()) return this.#endGoodProbe(call);
    this.#count(failed, unreachable);
    if (this.#isInUse()) {
      this.#ended.push({ slot: this.#slot(), failed, slow: this.#isSlow(call), noVerdict: false });
    }

    if (failed && hold > 0) {
      this.#openedUnreachable = this.#openedBySlowness = false;
      const held = this.#spread(hold);
      this.#heldUntil = Math.max(this.#heldUntil, this.now() + held);
      this.#open(held);
    } else if (this.#probing()) {
      if (!this.#badProbe()) return;
      this.#openedUnreachable = unreachable;
      this.#open();
    } else this.#openIfFailing();
  }

  #openIfFailing(): void {
    const { failureThreshold, minimumCalls, failureRateThreshold } = this.config;
    const recent = this.#judged();
    const failures = recent.filter((ended) => ended.failed).length;
    const tooMany = recent.length >= minimumCalls && failures >= recent.length * failureRateThreshold;
    if (this.failuresInARow >= failureThreshold || tooMany) {
      this.#openedUnreachable = this.failuresInARow > 0 && this.#allUnreachable;
      this.#open();
    } else this.#openIfSlow();
  }

  /** A connection was made. */
  signOfLife(): void {
    if (this.state !== 'open' || !this.#openedUnreachable || this.#sawLife) return;
    this.#sawLife = true;
    this.openUntil = Math.min(this.openUntil, Math.max(this.now(), this.#heldUntil));
  }

  closeBySignOfLife(): void {
    if (!this.#isInUse() && this.#openedUnreachable) this.#comeBack();
  }

  forceOpen(): void {
    this.#openedUnreachable = this.#openedBySlowness = false;
    if (this.state === 'open') this.openUntil = Infinity;
    else this.#open(Infinity);
  }

  reset(): void {
    if (this.state === 'closed') this.#begin();
    else this.#change('closed');
    this.#closedAt = -Infinity;
  }

  /** Calls of one window keep in another the age of the oldest call that their slot can hold. */
  reconfigure(config: BreakerConfig): void {
    const recent = this.#recent();
    const [before, after] = [timeOf(this.config) / SLOTS, timeOf(config) / SLOTS];
    this.config = config;
    if (after !== before) for (const ended of recent) ended.slot = Math.floor((ended.slot * before) / after);
  }

  failureRate(): number {
    const recent = this.#judged();
    return recent.length === 0 ? 0 : recent.filter((ended) => ended.failed).length / recent.length;
  }

  slowCallRate(): number {
    const overdue = this.#overdue().length;
    const recent = this.#recent();
    const calls = recent.length + overdue;
    return calls === 0 ? 0 : (recent.filter((ended) => ended.slow).length + overdue) / calls;
  }

  /** Calls that other probes wait for. */
  probes(): NaiveCall[] {
    return this.#probing() ? this.inFlight.filter((call) => call.life === this.#life && call.holdsSlot) : [];
  }

  #hasSay(call: NaiveCall): boolean {
    if (call.life === this.#life) return true;
    return call.counted && this.state === 'closed' && call.life === this.#life - 1;
  }

  #count(failed: boolean, unreachable: boolean): void {
    if (!failed) this.#allUnreachable = true;
    else this.#allUnreachable &&= unreachable;
    this.failuresInARow = failed ? this.failuresInARow + 1 : 0;
    this.successesInARow = failed ? 0 : this.successesInARow + 1;
  }

  #endGoodProbe(call: NaiveCall): void {
    if (call.counted) return;
    if (this.#openedBySlowness && this.#isSlow(call)) {
      if (this.#badProbe()) this.#open();
      return;
    }
    this.#count(false, false);
    this.#goodProbe();
  }

  /** How many probes must succeed, of how many. */
  #quorum(): readonly [needed: number, of: number] {
    const [needed, of = needed] = String(this.config.successThreshold).split(' of ').map(Number) as [number, number?];
    return [needed, of];
  }

  #goodProbe(): void {
    this.#probesDone.good++;
    if (this.#probesDone.good >= this.#quorum()[0]) this.#comeBack();
  }

  /** @returns whether the others cannot prove anything any more */
  #badProbe(): boolean {
    this.#probesDone.bad++;
    const [needed, of] = this.#quorum();
    return of - this.#probesDone.bad < needed;
  }

  #comeBack(): void {
    if (this.config.recoveryDuration === 0) return this.#change('closed');
    if (this.state === 'open') this.#change('half_open');
    this.#recovering = { since: this.now(), saved: 0.9 };
    this.#forget();
  }

  #countGoodAnswers(): void {
    const life = this.#life;
    const good = this.inFlight
      .filter((call) => call.life === life && !call.counted && this.now() - call.answeredAt! >= 1_000)
      .sort((a, b) => a.answeredAt! - b.answeredAt!);
    for (const call of good) {
      if (this.#life !== life || !this.#probing()) return;
      if (this.#openedBySlowness && this.#isSlow(call)) continue;
      call.counted = true;
      this.#count(false, false);
      this.#goodProbe();
    }
  }

  #mayProbe(longRunning: boolean): boolean {
    const { halfOpenMaxCalls, halfOpenTimeout } = this.config;
    if (longRunning) return false;
    if (this.probes().length >= halfOpenMaxCalls) {
      for (const probe of this.probes()) {
        if (this.now() - probe.startedAt >= halfOpenTimeout) probe.holdsSlot = false;
      }
    }
    return this.probes().length < halfOpenMaxCalls;
  }

  #start(longRunning: boolean, life: number | undefined, holdsSlot = false): NaiveCall {
    const call = {
      startedAt: this.now(),
      longRunning,
      life,
      holdsSlot,
      answeredAt: undefined,
      counted: false,
      wasProbe: holdsSlot,
    };
    this.inFlight.push(call);
    return call;
  }

  #isSlow(call: NaiveCall): boolean {
    const { slowCallDuration = Infinity } = this.config;
    return !call.longRunning && this.now() - call.startedAt >= slowCallDuration;
  }

  #overdue(): NaiveCall[] {
    if (!this.#isInUse()) return [];
    // Those that began as probes are not among the calls that are watched.
    return this.inFlight.filter((call) => call.life === this.#life && !call.wasProbe && this.#isSlow(call));
  }

  #openIfSlow(): void {
    const { slowCallDuration, minimumCalls, slowCallRateThreshold } = this.config;
    if (slowCallDuration === undefined) return;
    const calls = this.#recent().length + this.#overdue().length;
    const slow = this.#recent().filter((ended) => ended.slow).length + this.#overdue().length;
    if (calls < minimumCalls || slow < calls * slowCallRateThreshold) return;
    this.#openedBySlowness = true;
    this.#openedUnreachable = false;
    this.#open();
  }

  #slot(): number {
    return Math.floor(this.now() / (timeOf(this.config) / SLOTS));
  }

  #recent(): Ended[] {
    const { window } = this.config;
    this.#ended =
      typeof window === 'number'
        ? this.#ended.filter((ended) => ended.slot > this.#slot() - SLOTS)
        : this.#ended.slice(-window.calls);
    return this.#ended;
  }

  #judged(): Ended[] {
    return this.#recent().filter((ended) => !ended.noVerdict);
  }

  #open(duration = this.#nextDuration()): void {
    this.openUntil = duration === Infinity ? Infinity : Math.max(this.now() + duration, this.#heldUntil);
    this.#sawLife = false;
    this.#change('open');
  }

  #hold(ms: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, this.now() + this.#spread(ms));
    this.openUntil = Math.max(this.openUntil, this.#heldUntil);
  }

  #spread(ms: number): number {
    return ms + ms * this.config.openJitter * this.chance();
  }

  #nextDuration(): number {
    const { initialOpenDuration, openDuration, openBackoff, openJitter, maxOpenDuration } = this.config;
    let duration = Math.min(Math.max(initialOpenDuration, Math.ceil(this.#trouble() / 4)), openDuration);
    if (duration === openDuration) {
      for (let time = 0; time < this.#fullOpenings; time++)
        duration = Math.min(duration * openBackoff, maxOpenDuration);
      this.#fullOpenings++;
    }
    const [least, most] = [
      duration - duration * openJitter,
      Math.min(duration + duration * openJitter, maxOpenDuration),
    ];
    return least + (most - least) * this.chance();
  }

  /** How long it has not been closed. */
  #trouble(): number {
    if (this.state !== 'closed') return this.now() - this.#leftClosedAt + this.#troubleBefore;
    return this.now() - this.#closedAt < timeOf(this.config) ? this.#troubleBefore : 0;
  }

  #change(state: NaiveCircuit['state']): void {
    if (this.state === 'closed') {
      this.#troubleBefore = this.#trouble();
      this.#leftClosedAt = this.now();
    } else if (state === 'closed') {
      this.#troubleBefore = this.#trouble();
      this.#closedAt = this.now();
    }
    this.state = state;
    this.changes++;
    this.#begin();
  }

  #begin(): void {
    this.#life++;
    this.successesInARow = 0;
    this.#probesDone = { good: 0, bad: 0 };
    this.#recovering = undefined;
    if (this.state !== 'closed') return;
    this.#fullOpenings = 0;
    this.#heldUntil = 0;
    this.#openedBySlowness = this.#openedUnreachable = false;
    this.#forget();
  }

  #forget(): void {
    this.failuresInARow = 0;
    this.#allUnreachable = true;
    this.#ended = [];
  }
}

/** For how long calls are of the present: where a number of calls counts, 30 s. */
function timeOf({ window }: BreakerConfig): number {
  return typeof window === 'number' ? window : 30_000;
}

function startOf(call: NaiveCall): number | undefined {
  return call.longRunning ? undefined : call.startedAt;
}
