import { askAdvisor, type Advised, type Evidence } from './advice.js';
import { Announcements } from './announcements.js';
import { isUnreachable } from './classification.js';
import type { BreakerConfig } from './config.js';
import type { CircuitOpenError } from './errors.js';
import type { FailureNote } from './failure-note.js';
import { formatSeconds } from './format.js';
import { HalfOpen } from './half-open.js';
import { tellObserver, type ChangedBy, type Observed, type Transition } from './observer.js';
import { Opening, spreadHold, wholeMilliseconds } from './opening.js';
import { COUNTED, EVIDENCE, PLAIN, type Permit } from './permit.js';
import type { BreakerSeams } from './seams.js';
import type { SlowCallWatch } from './slow-call-watch.js';
import { CLOSED, HALF_OPEN, OPEN, STATE_NAMES, type StateCode } from './state.js';
import { NOTHING_KNOWN, TrackRecord, type TrackRecordView } from './track-record.js';

/** As what a call may be made now, if it may. */
export type Admission = typeof REFUSED | typeof ADMITTED | typeof PROBE;
export const REFUSED = 0;
export const ADMITTED = 1;
export const PROBE = 2;

/** The breaker of a circuit, as the circuit needs it: what it is called, how it is set, who is told and who is asked. */
interface Owner<Breaker> extends Observed<Breaker>, Advised<Breaker> {
  readonly config: BreakerConfig;
}

/**
 * The circuit of one breaker: its state, what has led to it, and what leads out of it.
 *
 * Each state has data of its own: closed the track record of the target, open its opening, half-open its probes. What a
 * call costs, whether its outcome is counted and what an error means is the breaker's affair; the circuit hears of
 * verdicts, and of whoever opens and closes it without a call: a hand, the fleet, a connection that was made.
 */
export class Circuit<Breaker extends Owner<Breaker>> {
  state: StateCode = CLOSED;
  /** Grows with every change of state; results of calls from an earlier one are dropped. */
  generation = 0;
  /** When it changed last, in milliseconds since 1970; when it was made, where it never did. */
  changedAt: number;

  readonly #breaker: Breaker;
  readonly #seams: BreakerSeams;
  // From the first verdict on, or from the start where slow calls count: many breakers of a large registry are never called.
  #record: TrackRecord | undefined;
  #changes: Changes | undefined;
  // What is known of the time for which it is open, from the first time on.
  #opening: Opening | undefined;
  #halfOpen: HalfOpen | undefined;
  #announcements: Announcements | undefined;

  constructor(breaker: Breaker, seams: BreakerSeams) {
    this.#breaker = breaker;
    this.#seams = seams;
    this.changedAt = seams.wallNow();
    this.#beginWhereSlowCallsCount();
  }

  /** How the target has done of late, to be read. */
  get record(): TrackRecordView {
    return this.#record ?? NOTHING_KNOWN;
  }

  /** Whether a call that ends well may change the state. */
  get heedsSuccess(): boolean {
    return this.state !== CLOSED || this.#record?.heedsSuccess === true;
  }

  /** Calls in flight, where slow ones count. */
  get slowCalls(): SlowCallWatch | undefined {
    return this.#record?.slowCalls;
  }

  /** Some calls are judged by how slow they are, although others are not. */
  watchSlowCalls(): void {
    this.#recordAt(this.#seams.now()).watchSlowCalls();
  }

  /** Its breaker has new options. */
  reconfigured(previous: BreakerConfig): void {
    this.#record?.reconfigure(this.#breaker.config, previous, this.#seams.now());
    this.#beginWhereSlowCallsCount();
  }

  /** How often each change of state happened, by `from * 3 + to`; `undefined` where none did. */
  get transitions(): readonly number[] | undefined {
    return this.#changes?.byKind;
  }

  get transitionCount(): number {
    return this.#changes?.count ?? 0;
  }

  /** When it last changed or rejected a call, by the clock that only grows; -Infinity where it did neither. */
  get stirredAt(): number {
    return this.#changes?.stirredAt ?? -Infinity;
  }

  /** Whether calls go to the target as a matter of course, all or a share of them: not open, and not trying it by probes. */
  get isInUse(): boolean {
    return this.state === CLOSED || this.#halfOpen?.recovery !== undefined;
  }

  /** Whether it is open by hand or because the target asked for it: nothing that its breaker has concluded. */
  get isOnDemand(): boolean {
    return this.#opening!.isOnDemand;
  }

  /** Whether it is open since the fleet says so, and not by its own calls. */
  get isAdvised(): boolean {
    return this.state === OPEN && this.#opening!.isAdvised;
  }

  /** Whether it is open since its own calls failed: not by hand, the fleet's word or the target's own wish. */
  get isTripped(): boolean {
    return this.state === OPEN && !this.#opening!.isOnDemand && !this.#opening!.isAdvised;
  }

  /** How long it is open in all, in milliseconds; `undefined` where it is not, or until `reset()`. */
  get openFor(): number | undefined {
    return this.state === OPEN && this.#opening!.length < Infinity ? this.#opening!.length : undefined;
  }

  /** Milliseconds for which it is still open; `undefined` where it is not, or until `reset()`. */
  openLeft(now: number): number | undefined {
    return this.openFor === undefined ? undefined : Math.max(0, this.#opening!.until - now);
  }

  /** Whether it is open, and no call may probe before more time has passed. */
  isKeptOpen(now: number): boolean {
    return this.state === OPEN && now < this.#opening!.until;
  }

  /** The share of calls that are let through just now; `undefined` where it is not growing. */
  admittedShare(now: number): number | undefined {
    return this.#halfOpen?.recovery?.share(now);
  }

  /** How many of the probes have succeeded. */
  get goodProbes(): number {
    return this.#halfOpen?.isProbing ? this.#halfOpen.good : 0;
  }

  /** What the calls of its breaker show of the target. */
  evidence(now: number): Evidence {
    return this.record.evidence(now, this.#breaker.config, this.#halfOpen?.isWaiting ?? false);
  }

  /** What a call is told that is not made. */
  rejection(now: number): CircuitOpenError {
    const { name, config } = this.#breaker;
    return this.#opening!.rejection(name, this.state === OPEN, now, config.openDuration, this.#halfOpen?.recovery);
  }

  /**
   * Whether a call may be made, and as what. Looks first at what time has changed.
   *
   * @param context of the call that asks, which a change of state is ascribed to
   */
  admission(now: number, longRunning: boolean, context: unknown): Admission {
    // Looked at when a call starts, too: calls that hang may be all there are.
    if (this.isInUse) this.#tripIfSlow(now, context);
    else if (this.state === HALF_OPEN) this.#countGoodAnswers(now, context);
    else if (now >= this.#opening!.until && this.#mayProbe(now)) {
      this.#transition(HALF_OPEN, now, `was open for ${formatSeconds(this.#opening!.length)}`, undefined, context);
    }
    if (this.#halfOpen?.recovery?.isOver(now)) {
      this.#transition(CLOSED, now, this.#halfOpen.recovery.summary, undefined, context);
    }
    if (this.state === CLOSED || this.#halfOpen?.recovery?.admits(now)) return ADMITTED;
    return !longRunning && this.#hasRoomForProbe(now) ? PROBE : REFUSED;
  }

  /** A call was rejected, or would have been. */
  rejected(now: number): void {
    if (this.#changes !== undefined) this.#changes.stirredAt = now;
  }

  /** Whether a probe may be made that no call has asked for. */
  admitsProbe(now: number, context: unknown): boolean {
    if (this.#halfOpen?.isProbing) this.#countGoodAnswers(now, context);
    return this.#hasRoomForProbe(now);
  }

  startProbe(probe: Permit): void {
    this.#halfOpen!.start(probe);
    askAdvisor(this.#breaker, (advisor) => advisor.onProbe(this.#breaker), undefined);
  }

  /** Whether the outcome of a call says something about the circuit as it is now. */
  counts({ generation, flags }: Permit): boolean {
    return (
      generation === this.generation ||
      // Its good answer has helped to close the circuit: what becomes of the rest is no less true.
      ((flags & COUNTED) !== 0 && this.state === CLOSED && generation === this.generation - 1)
    );
  }

  /** The first good part of an answer came. */
  answered(call: Permit): void {
    if (this.#halfOpen?.isProbing && this.counts(call)) this.#halfOpen.answered(call, this.#seams.now());
  }

  /** A call in flight has another permit from now on. */
  handOver(from: Permit, to: Permit): void {
    this.#halfOpen?.handOver(from, to);
    this.slowCalls?.handOver(from, to);
  }

  succeeded(call: Permit, now: number): void {
    // The common way is looked at here, before a function is asked: all that a good call passes is to be compiled into one piece.
    const record = this.#record ?? this.#recordAt(now);
    record.lastSuccessStart = call.startedAt;
    if (call.generation !== this.generation && !this.counts(call)) return;
    const halfOpen = this.#halfOpen;
    if (halfOpen?.isProbing) return this.#probeEnded(halfOpen, call, now);
    if (record.endedWell(call, now)) this.#tripIfOver(record, now, call.context);
  }

  /**
   * A call failed, and its outcome counts.
   *
   * @param note what the circuit keeps of the cause
   * @param retryAfterMs the target asks to be left alone for so long: the circuit opens at once
   * @param rateOnly no failure in a row, and no word on whether the target is back
   */
  failed(
    call: Permit,
    cause: unknown,
    note: FailureNote | undefined,
    retryAfterMs: number | undefined,
    rateOnly: boolean,
    now: number,
  ): void {
    const record = this.#recordAt(now);
    const probing = this.#halfOpen?.isProbing ? this.#halfOpen : undefined;
    if (rateOnly && probing !== undefined) return probing.end(call);
    const isUnreached = (call.flags & EVIDENCE) !== 0 || ((call.flags & PLAIN) === 0 && isUnreachable(cause));
    if (!rateOnly) record.failed(isUnreached, call.startedAt, now);
    record.lastFailure = note;
    if (this.#breaker.observer !== undefined) this.#tellOfFailure(call);
    if (probing === undefined) record.ended(call, true, now);
    const hold = this.#holdOf(retryAfterMs);
    if (hold > 0) {
      this.#openOnDemand().hold(now + hold);
      const reason = `the target asked to wait ${formatSeconds(retryAfterMs!)}`;
      this.#open(now, hold, reason, note, cause, call.context);
    } else if (probing === undefined) {
      this.#tripIfOver(record, now, call.context, cause);
    } else {
      probing.end(call);
      const reason = probing.failed(this.#breaker.config);
      if (reason === undefined) return;
      this.#opening!.isUnreachable = isUnreached;
      this.#open(now, this.#nextDuration(now), reason, note, cause, call.context);
    }
  }

  #tellOfFailure(call: Permit): void {
    tellObserver(this.#breaker, (observer) => observer.onFailure?.(this.#breaker, call.context));
  }

  /** A call from before the circuit opened brings a longer `Retry-After`. */
  extend(retryAfterMs: number | undefined, now: number): void {
    if (this.state !== OPEN) return;
    const hold = this.#holdOf(retryAfterMs);
    if (hold > 0) this.#opening!.extendTo(now + hold);
  }

  endedWithoutVerdict(call: Permit): void {
    if (!this.counts(call)) return;
    if (this.#halfOpen?.isProbing) return this.#halfOpen.end(call);
    if (this.slowCalls === undefined) return;
    const now = this.#seams.now();
    if (this.#record?.endedWithoutVerdict(call, now)) this.#tripIfSlow(now, call.context);
  }

  /** A call that waited for its target ends without having been sent. */
  endedUnsent(call: Permit): void {
    if (!this.counts(call)) return;
    if (this.#halfOpen?.isProbing) this.#halfOpen.end(call);
    else this.slowCalls?.ended(call);
  }

  /** Whether one more failure would open the circuit, were it that of this call. */
  isOneFailureAway(call: Permit, now: number): boolean {
    if (!this.counts(call)) return false;
    return this.#halfOpen?.isProbing || this.record.isOneFailureAway(now, this.#breaker.config);
  }

  /** Closes and forgets what led to its state. */
  reset(): void {
    if (this.state === CLOSED) this.#begin(CLOSED);
    else this.#transition(CLOSED, this.#seams.now(), 'reset by hand', undefined, undefined, 'hand');
    this.#opening?.forgetTrouble();
  }

  /** Opens until `reset()`. */
  forceOpen(): void {
    const opening = this.#openOnDemand();
    const now = this.#seams.now();
    if (this.state !== OPEN) return this.#open(now, Infinity, BY_HAND, undefined, undefined, undefined, 'hand');
    if (opening.until === Infinity) return;
    opening.goOnByHand(BY_HAND);
    // No change of state, and still something that happened to the circuit.
    const rate = this.record.failureRate(now);
    this.#tellOf(OPEN, OPEN, this.#seams.wallNow(), BY_HAND, undefined, undefined, rate, 'hand');
  }

  /** As `CircuitBreaker.signOfLife` has it. */
  signOfLife(): void {
    if (this.state !== OPEN) return;
    this.#opening!.endBySignOfLife(this.#seams.now());
    this.#tellAdvisorOfLife();
  }

  /** As `CircuitBreaker.closeBySignOfLife` has it. */
  closeBySignOfLife(): void {
    if (this.isInUse) return;
    if (this.#opening!.isUnreachable) this.#comeBack(this.#seams.now(), 'a connection was made', undefined);
    else this.#tellAdvisorOfLife();
  }

  /**
   * The fleet says that the target is dead: opens for that long, or moves the end of an opening that calls have brought
   * about. While probes try the target, or opened by hand, it does nothing.
   */
  openAdvised(openFor: number, reason: string): void {
    const now = this.#seams.now();
    if (this.state === OPEN) return this.#opening!.moveEnd(now + openFor);
    if (!this.isInUse) return;
    const opening = (this.#opening ??= new Opening());
    opening.isBySlowness = opening.isUnreachable = false;
    this.#open(now, openFor, reason, undefined, undefined, undefined, 'fleet');
  }

  /**
   * The fleet says that the target is back: closes, or lets the next call probe where this process's own calls have opened
   * it. Opened by hand, or because the target asked for it, it does nothing.
   */
  closeAdvised(reason: string): void {
    const opening = this.#opening;
    if (this.isInUse || opening!.isOnDemand) return;
    const now = this.#seams.now();
    if (this.state === OPEN && !opening!.isAdvised) return opening!.moveEnd(now);
    this.#comeBack(now, reason, undefined, 'fleet');
  }

  /** Calls the listener after each change. @returns a function that ends it */
  onTransition(listener: (transition: Transition) => void): () => void {
    return (this.#announcements ??= new Announcements()).add(listener);
  }

  /** The record, to be written. */
  #recordAt(now: number): TrackRecord {
    return (this.#record ??= new TrackRecord(this.#breaker.config, now));
  }

  #beginWhereSlowCallsCount(): void {
    if (this.#breaker.config.slowCallDuration !== undefined) this.#recordAt(this.#seams.now());
  }

  #mayProbe(now: number): boolean {
    return askAdvisor(this.#breaker, (advisor) => advisor.mayProbe(this.#breaker, now), true);
  }

  #hasRoomForProbe(now: number): boolean {
    const halfOpen = this.#halfOpen;
    return halfOpen?.isProbing === true && halfOpen.hasRoom(now, this.#breaker.config) && this.#mayProbe(now);
  }

  #tellAdvisorOfLife(): void {
    askAdvisor(this.#breaker, (advisor) => advisor.onSignOfLife(this.#breaker), undefined);
  }

  /** Counts the probes that were answered well a while ago and still go on: their verdict need not wait for their end. */
  #countGoodAnswers(now: number, context: unknown): void {
    const halfOpen = this.#halfOpen!;
    while (this.#halfOpen === halfOpen && halfOpen.isProbing && halfOpen.takeProven(now) !== undefined) {
      this.#countGoodProbe(halfOpen, now, context);
    }
  }

  /** A probe has ended well. */
  #probeEnded(halfOpen: HalfOpen, probe: Permit, now: number): void {
    // Its answer has counted already.
    if ((probe.flags & COUNTED) !== 0) return;
    halfOpen.end(probe);
    if (!halfOpen.isTooSlow(probe, now)) return this.#countGoodProbe(halfOpen, now, probe.context);
    const reason = halfOpen.failed(this.#breaker.config, probe.breaker.config.slowCallDuration);
    if (reason === undefined) return;
    this.#open(now, this.#nextDuration(now), reason, undefined, undefined, probe.context);
  }

  #countGoodProbe(halfOpen: HalfOpen, now: number, context: unknown): void {
    const reason = halfOpen.succeeded(this.#breaker.config);
    this.#recordAt(now).succeeded();
    tellObserver(this.#breaker, (observer) => observer.onProbeSuccess?.(this.#breaker));
    if (reason !== undefined) this.#comeBack(now, reason, context);
  }

  /** The target is back: the circuit closes, at once or by and by. */
  #comeBack(now: number, reason: string, context: unknown, by: ChangedBy = 'self'): void {
    const { recoveryDuration } = this.#breaker.config;
    if (recoveryDuration === 0) return this.#transition(CLOSED, now, reason, undefined, context, by);
    if (this.state === OPEN) this.#transition(HALF_OPEN, now, reason, undefined, context, by);
    // Who was told of that may have moved it on.
    if (this.#halfOpen === undefined) return;
    this.#halfOpen.recover(now, recoveryDuration);
    this.#record?.begin();
    // No change of state, and still something that happened to the circuit.
    const told = `${reason}; the share of calls that are let through grows for ${formatSeconds(recoveryDuration)}`;
    this.#tellOf(HALF_OPEN, HALF_OPEN, this.#seams.wallNow(), told, undefined, context, 0, by);
  }

  /** Opens a closed circuit when one of its three limits is reached. The window has just been rotated. */
  #tripIfOver(record: TrackRecord, now: number, context: unknown, cause?: unknown): void {
    const reason = record.whyFailing(this.#breaker.config);
    if (reason !== undefined) {
      (this.#opening ??= new Opening()).isUnreachable = record.isUnreachable;
      this.#open(now, this.#nextDuration(now), reason, record.lastFailure, cause, context);
    } else this.#tripIfSlow(now, context);
  }

  #tripIfSlow(now: number, context: unknown): void {
    const reason = this.#record?.whySlow(now, this.#breaker.config);
    if (reason === undefined) return;
    const opening = (this.#opening ??= new Opening());
    opening.isBySlowness = true;
    opening.isUnreachable = false;
    this.#open(now, this.#nextDuration(now), reason, undefined, undefined, context);
  }

  #nextDuration(now: number): number {
    return this.#opening!.nextDuration(now, this.state === CLOSED, this.#breaker.config, this.#seams.random);
  }

  /** For how long the circuit stays open where its target asks for it; 0 where it does not. */
  #holdOf(retryAfterMs: number | undefined): number {
    const { maxOpenDuration, openJitter } = this.#breaker.config;
    // Ignore 0 and NaN: NaN would never expire.
    if (!(retryAfterMs! > 0)) return 0;
    return spreadHold(Math.min(retryAfterMs!, maxOpenDuration), openJitter, this.#seams.random);
  }

  #openOnDemand(): Opening {
    const opening = (this.#opening ??= new Opening());
    opening.isOnDemand = true;
    opening.isBySlowness = opening.isUnreachable = false;
    return opening;
  }

  /** @param cause the failure itself, where it is at hand; `note` is what the circuit keeps of it */
  #open(
    now: number,
    openFor: number,
    reason: string,
    note: FailureNote | undefined,
    cause: unknown,
    context: unknown,
    by: ChangedBy = 'self',
  ): void {
    const opening = this.#opening!;
    // Who probes for the fleet has not found out more than the fleet knows.
    const isAdvised = by === 'fleet' || (this.state === HALF_OPEN && opening.isAdvised);
    opening.begin(now, openFor, reason, note, isAdvised);
    this.#transition(OPEN, now, reason, cause === undefined ? opening.cause() : cause, context, by);
  }

  #transition(
    to: StateCode,
    now: number,
    reason: string,
    cause: unknown,
    context: unknown,
    by: ChangedBy = 'self',
  ): void {
    const from = this.state;
    if (from === CLOSED) this.#opening!.troubleBegins(now, this.#breaker.config);
    else if (to === CLOSED) this.#opening!.troubleEnds(now);
    const rate = this.record.failureRate(now);
    this.changedAt = this.#seams.wallNow();
    const changes = (this.#changes ??= new Changes());
    changes.count++;
    changes.byKind[from * 3 + to]!++;
    changes.stirredAt = now;
    this.#begin(to);
    this.#tellOf(from, to, this.changedAt, reason, cause, context, rate, by);
  }

  /** Makes nothing where nobody listens: most breakers change unheard. */
  #tellOf(
    from: StateCode,
    to: StateCode,
    at: number,
    reason: string,
    cause: unknown,
    context: unknown,
    rate: number,
    by: ChangedBy,
  ): void {
    const breaker = this.#breaker;
    if (breaker.observer === undefined && this.#announcements === undefined) return;
    const retryAfterMs = this.openFor === undefined ? undefined : wholeMilliseconds(this.openFor);
    const states = { from: STATE_NAMES[from], to: STATE_NAMES[to], at: new Date(at) };
    const transition: Transition = {
      name: breaker.name,
      ...states,
      reason,
      cause,
      failureRate: rate,
      retryAfterMs,
      by,
    };
    (this.#announcements ??= new Announcements()).announce({ transition, context }, (change) =>
      tellObserver(breaker, (observer) => observer.onTransition(breaker, change.transition, change.context)),
    );
  }

  /** Enters a state; what began in an earlier one no longer counts. */
  #begin(state: StateCode): void {
    this.state = state;
    this.generation++;
    this.#record?.circuitChanges();
    this.#halfOpen = undefined;
    if (state === CLOSED) this.#record?.begin();
    if (state !== HALF_OPEN) return;
    this.#halfOpen = new HalfOpen(this.#opening!.isBySlowness);
    this.#opening!.isOnDemand = false;
  }
}

/** What is known of the changes of a circuit, from the first one on: most circuits never change. */
class Changes {
  count = 0;
  readonly byKind = new Array<number>(9).fill(0);
  stirredAt = -Infinity;
}

const BY_HAND = 'opened by hand';
