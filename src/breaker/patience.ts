/** What a call says that its caller gave up before a good answer came. */
export type Abandonment = typeof NO_EVIDENCE | typeof RATE_ONLY | typeof TIMED_OUT;

/** Nothing: the caller left early, or with others at the same moment. */
export const NO_EVIDENCE = 0;
/** The target answers others meanwhile: it may be hung in part, which only a rate can tell. */
export const RATE_ONLY = 1;
/** The target is silent: what a timeout is. */
export const TIMED_OUT = 2;

// A slow answer is remembered for one period at least and for two at most.
const PERIOD = 5 * 60_000;
// Callers that leave within this number of milliseconds of each other had one common reason: not each the target.
const TOGETHER = 20;
// A wait that exceeds the slowest good answer by this factor is no coincidence.
const FAR_LONGER = 3;
// One answer of half a minute must not hide a dead target for good.
const SILENT_FOR = 10;
// A target that has never answered may still be starting.
const STARTING_FOR = 5;

/**
 * Tells a caller that gave up on a dead target from one that lost interest in a healthy one.
 *
 * Most client libraries abort a request that takes too long without saying why, exactly as they abort one whose result
 * nobody wants any more. Only time tells the two apart: how long this call waited, how long good answers take, and
 * whether the target has answered anyone meanwhile. Good answers are those to calls of any age, also where the circuit
 * has changed since they began; their time ends with their good headers, never with their bodies.
 *
 * A handful of numbers for each breaker and nothing for each call: time is passed in, and a call whose start is not known
 * (NaN) is never evidence, since every comparison with NaN is false.
 */
export class Patience {
  // Slowest good answer of this period and of the one before; -1: none yet.
  #slowest = -1;
  #slowestBefore = -1;
  // Looked at only when a good answer comes, so that silence ages nothing.
  #periodEnds = -Infinity;
  #answeredAt = -Infinity;
  // How long somebody has waited since then, and until when that is added up.
  #silence = 0;
  #silenceUntil = -Infinity;
  #evidenceAt = -Infinity;

  /** The slowest good answer of the last minutes in which there were any, in milliseconds; -1 where there was none yet. */
  get slowest(): number {
    return this.#slowest > this.#slowestBefore ? this.#slowest : this.#slowestBefore;
  }

  /** A good answer has begun: good headers, or the first reply. */
  answered(startedAt: number, now: number): void {
    if (now >= this.#periodEnds) this.#beginPeriod(now);
    const took = now - startedAt;
    if (took > this.#slowest) this.#slowest = took;
    this.#answeredAt = now;
  }

  /** A call ended without a good answer, however it ended. */
  waited(startedAt: number, now: number): void {
    if (this.#answeredAt >= this.#silenceUntil) this.#endSilence();
    if (!(startedAt < now)) return;
    // Where waits overlap, the time is counted once. A long wait that began in a gap between two others adds too little.
    this.#silence += now - (startedAt > this.#silenceUntil ? startedAt : this.#silenceUntil);
    this.#silenceUntil = now;
  }

  /**
   * A caller gave up before a good answer came.
   *
   * @param abandonedAfter who leaves earlier leaves for reasons of their own; Infinity: whoever leaves does
   * @param wouldOpen whether one more failure would open the circuit
   */
  abandoned(startedAt: number, now: number, abandonedAfter: number, wouldOpen = false): Abandonment {
    const abandonment = this.#judge(startedAt, now, abandonedAfter);
    return wouldOpen && this.mayBeStarting(abandonedAfter) ? NO_EVIDENCE : abandonment;
  }

  #judge(startedAt: number, now: number, abandonedAfter: number): Abandonment {
    this.waited(startedAt, now);
    const waited = now - startedAt;
    if (!(waited >= abandonedAfter)) return NO_EVIDENCE;
    const { slowest } = this;
    const isFarLonger = slowest >= 0 && waited >= FAR_LONGER * slowest;
    if (this.#answeredAt > startedAt) return isFarLonger ? RATE_ONLY : NO_EVIDENCE;
    if (waited <= slowest && this.#silence <= SILENT_FOR * slowest) return NO_EVIDENCE;
    if (now - this.#evidenceAt < TOGETHER && !isFarLonger) return NO_EVIDENCE;
    this.#evidenceAt = now;
    return TIMED_OUT;
  }

  /**
   * Whether the target may still be starting: it has never answered, and nobody has waited for it long enough. Until then
   * no caller that gave up may open the circuit.
   */
  mayBeStarting(abandonedAfter: number): boolean {
    return this.#answeredAt === -Infinity && this.#silence < STARTING_FOR * abandonedAfter;
  }

  /** An answer ends it; written down by who waits next, since answers are many. */
  #endSilence(): void {
    this.#silence = 0;
    this.#silenceUntil = this.#answeredAt;
  }

  #beginPeriod(now: number): void {
    this.#slowestBefore = this.#slowest;
    this.#slowest = -1;
    this.#periodEnds = now + PERIOD;
  }
}
