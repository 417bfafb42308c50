import type { BreakerConfig } from './config.js';
import { CircuitOpenError, withoutStack } from './errors.js';
import { errorOf, type FailureNote } from './failure-note.js';
import type { Recovery } from './half-open.js';
import { windowMs } from './window.js';

// An opening lasts this share of the time for which the circuit has not been closed.
const SHARE_OF_OUTAGE = 0.25;

/**
 * For how long a circuit is open, and why. Made when it opens first.
 *
 * Openings grow with the outage: a fault of a second must not become one of half a minute through us, and a target that
 * has been away for an hour need not be asked every second.
 */
export class Opening {
  /** When it ends; Infinity: by hand only. */
  until = 0;
  /** Its length in milliseconds, from its beginning to `until`. */
  length = 0;
  reason = '';
  /** The failure that opened the circuit. */
  opener: FailureNote | undefined;
  /** Opened by hand, or because the target asked for it: not a conclusion of ours, which could be wrong. */
  isOnDemand = false;
  /** Opened by the word of the fleet, and not by calls of this process. */
  isAdvised = false;
  /** Opened because calls were slow: then slow probes are bad ones. */
  isBySlowness = false;
  /** Opened because no connection could be made: then a connection that is made is a sign of life. */
  isUnreachable = false;

  #startedAt = 0;
  #sawSignOfLife = false;
  // The longest that its target has asked to be left alone.
  #heldUntil = -Infinity;
  // When the circuit left the closed state; when it came back there, and after how long.
  #troubleSince = 0;
  #closedAt = -Infinity;
  #troubleMs = 0;
  // How many openings in a row have lasted for openDuration or longer.
  #fullOpenings = 0;
  #openerError: Error | undefined;

  /** @param duration milliseconds; Infinity: until `reset()` */
  begin(now: number, duration: number, reason: string, opener: FailureNote | undefined, isAdvised: boolean): void {
    this.#startedAt = now;
    this.#endAt(duration === Infinity ? Infinity : Math.max(now + duration, this.#heldUntil));
    this.reason = reason;
    this.opener = opener;
    this.isAdvised = isAdvised;
    this.#openerError = undefined;
    this.#sawSignOfLife = false;
  }

  /** It goes on until `reset()`, and nothing that failed is its reason any more. */
  goOnByHand(reason: string): void {
    this.until = this.length = Infinity;
    this.reason = reason;
    this.isAdvised = false;
    this.opener = this.#openerError = undefined;
  }

  /** The circuit leaves the closed state. */
  troubleBegins(now: number, { window }: BreakerConfig): void {
    this.#troubleSince = now - this.#troubleBefore(now, windowMs(window));
  }

  /** The circuit is closed again. */
  troubleEnds(now: number): void {
    this.#troubleMs = now - this.#troubleSince;
    this.#closedAt = now;
    this.#fullOpenings = 0;
    this.#heldUntil = -Infinity;
    this.isOnDemand = this.isBySlowness = this.isUnreachable = false;
    this.opener = this.#openerError = undefined;
  }

  /** The next trouble is not a part of the last one. */
  forgetTrouble(): void {
    this.#closedAt = -Infinity;
  }

  /**
   * How long the next opening lasts: a share of the time for which the circuit has not been closed, up to `openDuration`;
   * from there on longer each time, up to `maxOpenDuration`.
   */
  nextDuration(now: number, isClosed: boolean, config: BreakerConfig, random: () => number): number {
    const { initialOpenDuration, openDuration, openBackoff, openJitter, maxOpenDuration, window } = config;
    const trouble = isClosed ? this.#troubleBefore(now, windowMs(window)) : now - this.#troubleSince;
    // Whole milliseconds, as dates have them: whoever waits until `openUntil` must not come too early.
    const share = Math.max(initialOpenDuration, Math.ceil(trouble * SHARE_OF_OUTAGE));
    const backedOff =
      share < openDuration ? share : Math.min(openDuration * openBackoff ** this.#fullOpenings++, maxOpenDuration);
    if (openJitter === 0) return backedOff;
    // Downwards only at the cap: a wait that is cut there would end for all instances at the same moment.
    const shortest = backedOff * (1 - openJitter);
    const longest = Math.min(backedOff * (1 + openJitter), maxOpenDuration);
    return shortest + random() * (longest - shortest);
  }

  /** The fleet waits until then. By hand, and where its target asked for more, it lasts as it is. */
  moveEnd(until: number): void {
    if (this.until !== Infinity) this.#endAt(Math.max(until, this.#heldUntil));
  }

  /** The target asks to be left alone until then: no sign of life ends the opening before. */
  hold(until: number): void {
    this.#heldUntil = Math.max(this.#heldUntil, until);
  }

  /** As `hold`, where a call that began before the circuit opened brings a longer `Retry-After`. */
  extendTo(until: number): void {
    this.hold(until);
    this.#endAt(Math.max(this.until, this.#heldUntil));
  }

  /** A connection was made to a target that could not be reached: once for each opening, the next call may probe at once. */
  endBySignOfLife(now: number): void {
    if (!this.isUnreachable || this.#sawSignOfLife) return;
    this.#sawSignOfLife = true;
    this.#endAt(Math.min(this.until, Math.max(now, this.#heldUntil)));
  }

  /** One error for all rejections of an opening. */
  cause(): Error | undefined {
    return (this.#openerError ??= this.opener && errorOf(this.opener));
  }

  /** What a call is told that is not made. @param recovery where the probes of the half-open circuit have succeeded */
  rejection(
    breaker: string,
    isOpen: boolean,
    now: number,
    openDuration: number,
    recovery: Recovery | undefined,
  ): CircuitOpenError {
    const wait = wholeMilliseconds(isOpen ? this.#wait(now, openDuration) : (recovery?.left(now) ?? 0));
    const state = isOpen ? 'open' : 'half_open';
    const reason = recovery?.describe(now) ?? this.reason;
    return withoutStack(() => new CircuitOpenError(breaker, state, wait, reason, this.cause(), this.opener?.code));
  }

  /** Milliseconds until a probe may go. Opened by hand, nothing says when: the ordinary time is as good an advice as any. */
  #wait(now: number, openDuration: number): number {
    return this.until === Infinity ? openDuration : Math.max(0, this.until - now);
  }

  /** How long the circuit was not closed before it was closed for a moment only; that moment not counted. */
  #troubleBefore(now: number, window: number): number {
    return now - this.#closedAt < window ? this.#troubleMs : 0;
  }

  #endAt(until: number): void {
    this.until = until;
    this.length = until - this.#startedAt;
  }
}

/** Jitter only adds to the time for which a target asks to be left alone. */
export function spreadHold(ms: number, openJitter: number, random: () => number): number {
  return openJitter === 0 ? ms : ms * (1 + openJitter * random());
}

/** Rounds up: whoever waits must not come too early. The sums of a clock's fractions are off by less than a billionth. */
export function wholeMilliseconds(ms: number): number {
  // Of no time at all, -0 would be left: callers print it, and tests compare with 0.
  return Math.ceil(ms - 1e-6) + 0;
}
