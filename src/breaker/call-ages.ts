const SLOTS = 8;
// How long calls go into one counter before the next one begins.
const SLOT_MS = 250;
// A call that has waited for so long hangs. It is told of once in so long.
const HANGING_MS = 60_000;
const TELL_OF_HANGING_EVERY_MS = 60 * 60_000;

/**
 * How old calls in flight are at least, to within a quarter of a second for young ones, more roughly for old ones, without a
 * structure for each call: eight counters, each for the calls that began within a stretch of time. When a ninth is
 * needed, the two neighbours become one whose union blurs their ages least.
 */
export class CallAges {
  // Newest first. A counter is for the calls that began from `#from` to before `#to`.
  readonly #counts = new Array<number>(SLOTS).fill(0);
  readonly #from = new Array<number>(SLOTS).fill(-Infinity);
  readonly #to = new Array<number>(SLOTS).fill(-Infinity);
  // The newest of them once more, outside of the arrays: nearly every call begins and ends there. The count is only here.
  #newest = 0;
  #newestFrom = -Infinity;
  #newestTo = -Infinity;
  // In flight, and they no longer wait: a good answer has begun.
  #answered = 0;
  #hangingToldUntil = -Infinity;

  /**
   * @param startedAt NaN for a call that is slow by design, whose age says nothing
   * @returns whether this is the first call for a while
   */
  started(startedAt: number): boolean {
    const isFirst = startedAt >= this.#newestTo;
    if (isFirst) this.#begin(startedAt);
    if (startedAt >= this.#newestFrom) this.#newest++;
    return isFirst;
  }

  /** A good answer has begun: the call no longer waits. */
  answered(): void {
    this.#answered++;
  }

  ended(startedAt: number, wasAnswered = false): void {
    if (wasAnswered && this.#answered > 0) this.#answered--;
    // Not those that began before their ages were counted.
    if (!(startedAt >= this.#newestFrom)) this.#oldEnded(startedAt);
    else if (this.#newest > 0) this.#newest--;
  }

  #oldEnded(startedAt: number): void {
    for (let slot = 1; slot < SLOTS; slot++) {
      if (startedAt >= this.#from[slot]!) {
        if (this.#counts[slot]! > 0) this.#counts[slot]!--;
        return;
      }
    }
  }

  /** The oldest call in flight has at least this age, in milliseconds; `null` where there is none. */
  oldest(now: number): number | null {
    this.#counts[0] = this.#newest;
    for (let slot = SLOTS - 1; slot >= 0; slot--) {
      if (this.#counts[slot]! > 0) return Math.max(0, now - this.#to[slot]!);
    }
    return null;
  }

  /** A lower bound of the number of calls in flight that have this age. */
  olderThan(ms: number, now: number): number {
    this.#counts[0] = this.#newest;
    let calls = 0;
    for (let slot = 0; slot < SLOTS; slot++) if (now - this.#to[slot]! >= ms) calls += this.#counts[slot]!;
    return calls;
  }

  /** How many calls have waited for a minute, where they are `minimumCalls` or more and nobody was told for an hour; else 0. */
  hangingToTell(now: number, minimumCalls: number): number {
    if (now < this.#hangingToldUntil) return 0;
    const calls = this.olderThan(HANGING_MS, now) - this.#answered;
    if (calls < minimumCalls) return 0;
    this.#hangingToldUntil = now + TELL_OF_HANGING_EVERY_MS;
    return calls;
  }

  #begin(now: number): void {
    this.#counts[0] = this.#newest;
    if (this.#newest > 0) this.#makeRoom(now);
    this.#counts[0] = this.#newest = 0;
    this.#from[0] = this.#newestFrom = now;
    this.#to[0] = this.#newestTo = now + SLOT_MS;
  }

  /** Moves counters back by one, over one that is empty or has been added to its older neighbour. */
  #makeRoom(now: number): void {
    const gap = this.#slotToGiveUp(now);
    for (let slot = gap; slot > 0; slot--) {
      this.#counts[slot] = this.#counts[slot - 1]!;
      this.#from[slot] = this.#from[slot - 1]!;
      this.#to[slot] = this.#to[slot - 1]!;
    }
  }

  #slotToGiveUp(now: number): number {
    let slotToGiveUp = SLOTS - 2;
    let leastBlur = Infinity;
    for (let slot = 1; slot < SLOTS; slot++) {
      if (this.#counts[slot] === 0) return slot;
      if (slot === SLOTS - 1) continue;
      const blur = (this.#to[slot]! - this.#from[slot + 1]!) / (now - this.#from[slot + 1]!);
      if (blur < leastBlur) {
        leastBlur = blur;
        slotToGiveUp = slot;
      }
    }
    this.#counts[slotToGiveUp + 1]! += this.#counts[slotToGiveUp]!;
    this.#to[slotToGiveUp + 1] = this.#to[slotToGiveUp]!;
    return slotToGiveUp;
  }
}
