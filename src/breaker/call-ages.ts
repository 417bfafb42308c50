// How old the calls in flight are.

// Counters besides the newest one.
const OLDER = 7;
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
  // A counter is for the calls that began from `from` to before `to`, which for the newest one is a slot later.
  #count = 0;
  #from = -Infinity;
  #ends = -Infinity;
  // Made when calls are in flight for longer than a slot: to most targets none ever is.
  #older: OlderCalls | undefined;
  // In flight, and they no longer wait: a good answer has begun.
  #answered = 0;
  #hangingToldUntil = -Infinity;

  /**
   * @param startedAt NaN for a call that is slow by design, whose age says nothing
   * @returns whether this is the first call for a while
   */
  started(startedAt: number): boolean {
    const isFirst = startedAt >= this.#ends;
    if (isFirst) this.#begin(startedAt);
    if (startedAt >= this.#from) this.#count++;
    return isFirst;
  }

  /** Whether a call that starts now goes into the newest counter: it is not the first for a while. */
  hasSlotFor(now: number): boolean {
    return now < this.#ends;
  }

  /** As `started`, for a call that has a slot. */
  startedInSlot(): void {
    this.#count++;
  }

  /** A good answer has begun: the call no longer waits. */
  answered(): void {
    this.#answered++;
  }

  ended(startedAt: number, wasAnswered = false): void {
    if (wasAnswered && this.#answered > 0) this.#answered--;
    if (startedAt >= this.#from) {
      // Not those that began before their ages were counted.
      if (this.#count > 0) this.#count--;
    } else this.#older?.ended(startedAt);
  }

  /** The oldest call in flight has at least this age, in milliseconds; `null` where there is none. */
  oldest(now: number): number | null {
    const older = this.#older?.oldest(now) ?? null;
    if (older !== null) return older;
    return this.#count > 0 ? Math.max(0, now - this.#ends) : null;
  }

  /** A lower bound of the number of calls in flight that have this age. */
  olderThan(ms: number, now: number): number {
    const older = this.#older?.olderThan(ms, now) ?? 0;
    return now - this.#ends >= ms ? older + this.#count : older;
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
    if (this.#count > 0) (this.#older ??= new OlderCalls()).add(this.#count, this.#from, this.#ends, now);
    this.#count = 0;
    this.#from = now;
    this.#ends = now + SLOT_MS;
  }
}

/** The counters but for the newest one, newest first. */
class OlderCalls {
  readonly #counts = new Array<number>(OLDER).fill(0);
  readonly #from = new Array<number>(OLDER).fill(-Infinity);
  readonly #to = new Array<number>(OLDER).fill(-Infinity);

  ended(startedAt: number): void {
    for (let slot = 0; slot < OLDER; slot++) {
      if (startedAt >= this.#from[slot]!) {
        if (this.#counts[slot]! > 0) this.#counts[slot]!--;
        return;
      }
    }
  }

  oldest(now: number): number | null {
    for (let slot = OLDER - 1; slot >= 0; slot--) {
      if (this.#counts[slot]! > 0) return Math.max(0, now - this.#to[slot]!);
    }
    return null;
  }

  olderThan(ms: number, now: number): number {
    let calls = 0;
    for (let slot = 0; slot < OLDER; slot++) if (now - this.#to[slot]! >= ms) calls += this.#counts[slot]!;
    return calls;
  }

  /** Takes in what was the newest counter: moves others back by one, over one that is empty or joins its older neighbour. */
  add(count: number, from: number, to: number, now: number): void {
    const gap = this.#slotToGiveUp(now);
    for (let slot = gap; slot > 0; slot--) {
      this.#counts[slot] = this.#counts[slot - 1]!;
      this.#from[slot] = this.#from[slot - 1]!;
      this.#to[slot] = this.#to[slot - 1]!;
    }
    this.#counts[0] = count;
    this.#from[0] = from;
    this.#to[0] = to;
  }

  #slotToGiveUp(now: number): number {
    let slotToGiveUp = OLDER - 2;
    let leastBlur = Infinity;
    for (let slot = 0; slot < OLDER; slot++) {
      if (this.#counts[slot] === 0) return slot;
      if (slot === OLDER - 1) continue;
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
