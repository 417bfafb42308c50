import type { Advisor, Evidence } from './advice.js';
import { checkName, resolveConfig, type BreakerConfig } from './config.js';
import { Announcements } from './announcements.js';
import { diagnostics, reportOnce } from './diagnostics.js';
import { CallAges } from './call-ages.js';
import { isUnreachable, judge } from './classification.js';
import { AbandonedError, CircuitOpenError, withoutStack } from './errors.js';
import { eventLoop, type LoopWatch } from './event-loop-stalls.js';
import { noteOf, type FailureNote } from './failure-note.js';
import { formatSeconds } from './format.js';
import type { BreakerObserver, ChangedBy, DurationRecorder, Transition } from './observer.js';
import { Opening, spreadHold, wholeMilliseconds } from './opening.js';
import type { BreakerOptions, Mode } from './options.js';
import { NO_EVIDENCE, Patience, RATE_ONLY } from './patience.js';
import {
  ANSWERED,
  COUNTED,
  EVIDENCE,
  NO_VERDICT,
  Permit,
  SHARES_ERRORS,
  UNGUARDED,
  type PermitIssuer,
} from './permit.js';
import { Probes } from './probes.js';
import { Recovery } from './recovery.js';
import { fallBackLater, notAFunction, rejectLater, Run } from './run.js';
import { SharedErrors } from './shared-errors.js';
import { CLOSED, HALF_OPEN, OPEN, STATE_NAMES, type CircuitState, type StateCode } from './state.js';
import { Tally, type BreakerStats } from './tally.js';
import { isSlow, TrackRecord } from './track-record.js';
import type { Verdict } from './verdict.js';
import { windowMs } from './window.js';

/** Clocks and chance, so that tests can move them. */
export interface BreakerSeams {
  /** Milliseconds that only ever grow. */
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly wallNow: () => number;
  /** At least 0, below 1. */
  readonly random: () => number;
  /** Whether we could listen while a call waited. */
  readonly loop: LoopWatch;
}

// Captured at load: the fake timers of an application's tests must not freeze its breakers.
const realSeams: BreakerSeams = {
  now: performance.now.bind(performance),
  wallNow: Date.now,
  random: Math.random,
  loop: eventLoop,
};

const NO_LABELS: Readonly<Record<string, never>> = Object.freeze({});

/**
 * Guards one target: counts what becomes of calls to it and, when it fails too often, rejects calls at once instead of
 * making them, until probes show that it is back.
 *
 * No state depends on a timer: an open circuit turns half-open inside the first `acquire()` after its time is up.
 */
export class CircuitBreaker implements PermitIssuer {
  #name: string;
  /** @internal */
  readonly tally = new Tally();
  /** @internal Labels of this breaker's metrics besides its name. */
  labels: Readonly<Record<string, string | number>> = NO_LABELS;
  /** @internal How often each change of state happened, by `from * 3 + to`; made at the first change. */
  transitions: number[] | undefined;
  /** @internal */
  observer: BreakerObserver<CircuitBreaker> | undefined;
  /** @internal Asked, where a call is about to be rejected, whether something nearer than the target is broken. */
  isPanic: ((now: number) => boolean) | undefined;
  /** @internal Who knows more of the target than this process sees. */
  advisor: Advisor<CircuitBreaker> | undefined;
  /** @internal What a fleet says of the target; `undefined` where none shares the breaker. */
  fleetState: StateCode | undefined;

  readonly #seams: BreakerSeams;
  #config: BreakerConfig;
  #state: StateCode = CLOSED;
  // Grows with every change of state; results of calls from an earlier one are dropped.
  #generation = 0;
  #transitionCount = 0;
  #changedAt: number;
  readonly #record: TrackRecord;
  #durations: DurationRecorder | undefined;
  // Whether a call that starts while closed needs to know when.
  #timed = false;
  // What is known of answers and waits, for breakers that time their calls.
  #patience: Patience | undefined;
  // What is known of the time for which it is open, from the first time on.
  #opening: Opening | undefined;
  #calledAt = -Infinity;
  #sharedErrors: SharedErrors | undefined;
  // While the circuit is half-open: first its probes, then, where `recoveryDuration` asks for it, the growing share of calls.
  #probes: Probes | undefined;
  #recovery: Recovery | undefined;
  #ages: CallAges | undefined;
  /** @internal Whether the target has ever answered. */
  hasAnswered = false;
  #announcements: Announcements | undefined;

  /**
   * @param seams for tests: clocks and chance
   * @throws ConfigError naming every option that is unknown or has a bad value
   */
  constructor(name: string, options?: BreakerOptions, seams: BreakerSeams = realSeams) {
    checkName(name);
    this.#name = name;
    this.#seams = seams;
    this.#config = resolveConfig(options, `CircuitBreaker "${name}"`);
    this.#changedAt = seams.wallNow();
    this.#record = new TrackRecord(this.#config, seams.now());
    this.#ageSlowCalls();
  }

  /** What it goes by in the registry, in metrics and in errors. */
  get name(): string {
    return this.#name;
  }

  /** Reading it changes nothing: an open circuit whose time is up is open until the next call asks. */
  get state(): CircuitState {
    return STATE_NAMES[this.#state];
  }

  /** @internal */
  get stateCode(): StateCode {
    return this.#state;
  }

  /** @internal Whether its last calls failed. */
  get isFailing(): boolean {
    return this.#record.consecutiveFailures > 0;
  }

  /** Its options, complete; durations in milliseconds. */
  get config(): BreakerConfig {
    return this.#config;
  }

  /**
   * Makes a call if the circuit lets it. Its error says what became of it, along its causes:
   *
   * - an answer of an HTTP client (`status`, `statusCode`, `response.status`): by `failureStatuses` and `honorRetryAfter`;
   *   408 and 429 are ignored, and any other shows that the target answers
   * - an error reply of PostgreSQL or Redis: as to calls of `pg` and ioredis
   * - time ran out: as `countTimeouts` has it
   * - the caller gave up (`AbortError`, or `signal` is aborted), the call was made wrongly (`ERR_INVALID_URL`), or another
   *   breaker rejected it: ignored
   * - anything else: a failure
   *
   * `isFailure` decides first where it is set. A stream that `fn` itself returns, as an async generator does, ends the call.
   *
   * The first rejections within one turn of the event loop come at once. Those that follow come when it has turned, and
   * where that goes on, 5 ms later, so that a loop that retries at once leaves room for everything else.
   *
   * @param fn gets `signal`, so that it can be handed on; may return a value or a promise
   * @returns what `fn` returns; rejects with `CircuitOpenError`, with the error of `fn`, unchanged, or with a `TypeError`
   * where `fn` is not a function
   */
  call<T>(fn: (signal?: AbortSignal) => T | PromiseLike<T>, signal?: AbortSignal): Promise<T> {
    if (typeof fn !== 'function') return notAFunction(fn);
    const run = this.#startRun();
    if (run instanceof CircuitOpenError) return rejectLater(run);
    // Here rather than in a function of its own: an error made within `fn` pays half a microsecond for each frame between.
    try {
      return run.settleWith(fn(signal), signal);
    } catch (error) {
      return run.settleByError(error, signal);
    }
  }

  /**
   * As `call`, but a rejected call gets what `fallback` returns. An error of `fn` does not: the call was made.
   *
   * @param fallback gets the `CircuitOpenError`
   */
  callWithFallback<T, F = T>(
    fn: (signal?: AbortSignal) => T | PromiseLike<T>,
    fallback: (error: CircuitOpenError) => F | PromiseLike<F>,
    signal?: AbortSignal,
  ): Promise<T | F> {
    if (typeof fn !== 'function') return notAFunction(fn);
    const run = this.#startRun();
    if (run instanceof CircuitOpenError) return fallBackLater(run, fallback);
    try {
      return run.settleWith(fn(signal), signal);
    } catch (error) {
      return run.settleByError(error, signal);
    }
  }

  /**
   * The two-step form, for calls that are not one function: settle the permit with `success()`, `failure(cause)` or `ignore()`.
   *
   * @throws CircuitOpenError
   */
  acquire(): Permit {
    const permit = this.tryAcquire();
    if (permit instanceof CircuitOpenError) throw permit;
    return permit;
  }

  /**
   * As `acquire`, but returns the error: a throw costs more than the rejection itself.
   *
   * @internal
   * @param context handed on to observers with whatever this call causes
   * @param longRunning the call is slow by design: never slow, never a probe, its duration not recorded
   * @param flags `SHARES_ERRORS` for a client that ends several calls with one error object; code uses errors again
   */
  tryAcquire(context?: unknown, longRunning = false, flags = 0): Permit | CircuitOpenError {
    if (this.#config.mode === 'off') return UNGUARDED;
    if (this.#state !== CLOSED || this.#record.slowCalls !== undefined)
      return this.acquireUnder(this.#config, context, longRunning, flags);
    this.tally.inFlight++;
    const startedAt = this.#timed ? this.#startTime(this.#seams.now(), longRunning) : NaN;
    return new Permit(this, this.#generation, startedAt, context, flags);
  }

  /**
   * A probe beyond the calls of the application, where the circuit waits for one and has room for it; never a rejection.
   *
   * @internal
   */
  tryProbe(context?: unknown): Permit | undefined {
    const now = this.#seams.now();
    if (this.#probes === undefined) return undefined;
    this.#countGoodAnswers(now, context);
    if (this.#probes === undefined || !this.#hasRoomForProbe(now)) return undefined;
    const permit = this.#admit(now, this.#generation, context, false, 0);
    this.#startProbe(permit);
    return permit;
  }

  /**
   * The permit of a call that is made whatever the circuit says. While closed it is a call like any other; otherwise its
   * outcome is counted and does not move the circuit, since nobody asked for a probe.
   *
   * @internal
   */
  acquireAnyway(context?: unknown, longRunning = false): Permit {
    if (this.#config.mode === 'off') return UNGUARDED;
    const generation = this.#state === CLOSED ? this.#generation : NO_VERDICT;
    const permit = this.#admit(this.#seams.now(), generation, context, longRunning, SHARES_ERRORS);
    if (generation === NO_VERDICT) return permit;
    if (!longRunning) this.#record.slowCalls?.started(permit);
    return permit;
  }

  /**
   * As `tryAcquire`, for a call that would wait for its connection and so show nothing soon: never a probe.
   *
   * @internal
   */
  acquireUnlessOpen(context?: unknown, longRunning = false, flags = 0): Permit | CircuitOpenError {
    if (this.#config.mode === 'off' || this.#isInUse) return this.tryAcquire(context, longRunning, flags);
    return this.#reject(this.#seams.now(), context, longRunning, this.#config.mode);
  }

  /**
   * A target has shown without being called that it could not be reached: a connection that could not be made. One event
   * and one failure; while the circuit is not closed it says nothing new.
   *
   * @internal
   */
  recordEvidence(verdict: Verdict, cause: unknown): void {
    if (this.#config.mode === 'off' || this.#state !== CLOSED) return;
    this.#admit(this.#seams.now(), this.#generation, undefined, true, EVIDENCE | SHARES_ERRORS).settle(verdict, cause);
  }

  /**
   * A connection to the target was made, up to the end of its handshake. Where the circuit is open since none could be
   * made, the next call may probe at once: once for each opening, and never before the end of a `Retry-After`.
   *
   * @internal
   */
  signOfLife(): void {
    if (this.#state !== OPEN) return;
    this.#opening!.endBySignOfLife(this.#seams.now());
    this.#askAdvisor((advisor) => advisor.onSignOfLife(this), undefined);
  }

  /**
   * As `signOfLife`, of a client that has made all its calls wait for this one connection: the circuit closes.
   *
   * @internal
   */
  closeBySignOfLife(): void {
    if (this.#isInUse) return;
    if (!this.#opening!.isUnreachable) return this.#askAdvisor((advisor) => advisor.onSignOfLife(this), undefined);
    this.#comeBack(this.#seams.now(), 'a connection was made', undefined);
  }

  /** What it has counted and where it stands. Changes nothing. */
  stats(): BreakerStats {
    const { tally } = this;
    const record = this.#record;
    const now = this.#seams.now();
    return {
      name: this.name,
      state: this.state,
      consecutiveFailures: record.consecutiveFailures,
      consecutiveSuccesses: record.consecutiveSuccesses,
      transitionCount: this.#transitionCount,
      lastStateChange: new Date(this.#changedAt),
      calls: {
        success: tally.success,
        failure: tally.failure,
        ignored: tally.ignored,
        rejected: tally.rejectedOpen + tally.rejectedHalfOpen,
        inFlight: tally.inFlight,
        oldestMs: this.#ages?.oldest(now) ?? null,
      },
      failureRate: record.failureRate(now),
      slowCallRate: record.slowCallRate(now),
      openUntil: this.#openFor === undefined ? null : new Date(this.#changedAt + this.#openFor),
    };
  }

  /** Closes the circuit and forgets what led to its state. Counts since the start stay: they are counters. */
  reset(): void {
    if (this.#state === CLOSED) this.#begin(CLOSED);
    else this.#transition(CLOSED, this.#seams.now(), 'reset by hand', undefined, undefined, 'hand');
    this.#opening?.forgetTrouble();
  }

  /** Opens the circuit until `reset()`. */
  forceOpen(): void {
    const opening = this.#openOnDemand();
    const now = this.#seams.now();
    if (this.#state !== OPEN) return this.#open(now, Infinity, BY_HAND, undefined, undefined, undefined, 'hand');
    if (opening.until === Infinity) return;
    opening.goOnByHand(BY_HAND);
    // No change of state, and still something that happened to the circuit.
    const rate = this.#record.failureRate(now);
    this.#tellOf(OPEN, OPEN, this.#seams.wallNow(), BY_HAND, undefined, undefined, rate, 'hand');
  }

  /**
   * The fleet says that the target is dead: opens for that long, or moves the end of an opening that calls have brought
   * about. Half-open, or opened by hand, it does nothing.
   *
   * @internal
   */
  openAdvised(openFor: number, reason: string): void {
    if (this.#config.mode === 'off' || this.#state === HALF_OPEN) return;
    const now = this.#seams.now();
    if (this.#state === OPEN) return this.#opening!.moveEnd(now + openFor);
    const opening = (this.#opening ??= new Opening());
    opening.isBySlowness = opening.isUnreachable = false;
    this.#open(now, openFor, reason, undefined, undefined, undefined, 'fleet');
  }

  /**
   * The fleet says that the target is back: closes, or lets the next call probe where this process's own calls have opened
   * it. Opened by hand, or because the target asked for it, it does nothing.
   *
   * @internal
   */
  closeAdvised(reason: string): void {
    const opening = this.#opening;
    if (this.#isInUse || opening!.isOnDemand) return;
    const now = this.#seams.now();
    if (this.#state === OPEN && !opening!.isAdvised) return opening!.moveEnd(now);
    this.#comeBack(now, reason, undefined, 'fleet');
  }

  /** @internal Whether it is open since the fleet says so, and not by its own calls. */
  get isAdvised(): boolean {
    return this.#state === OPEN && this.#opening!.isAdvised;
  }

  /** @internal Milliseconds for which it is still open; `undefined` where it is not, or until `reset()`. */
  get openLeft(): number | undefined {
    return this.#openFor === undefined ? undefined : Math.max(0, this.#opening!.until - this.#seams.now());
  }

  /** @internal What its own calls show of the target. */
  evidence(): Evidence {
    return this.#record.evidence(this.#seams.now(), this.#config, this.#probes?.isWaiting ?? false);
  }

  /**
   * Calls the listener after each change of state, which by then has taken effect.
   *
   * @returns a function that ends it
   */
  onTransition(listener: (transition: Transition) => void): () => void {
    return (this.#announcements ??= new Announcements()).add(listener);
  }

  /** @internal For the registry, which finds it by its name. */
  rename(name: string): void {
    this.#name = name;
  }

  /** @internal Takes new options and keeps state and counts. */
  reconfigure(config: BreakerConfig): void {
    const previous = this.#config;
    this.#config = config;
    this.#record.reconfigure(config, previous, this.#seams.now());
    this.#ageSlowCalls();
  }

  /** @internal From now on it is known of each call when it started. */
  timeCalls(): void {
    this.#timed = true;
    this.#patience ??= new Patience();
    this.#ages ??= new CallAges();
  }

  /** @internal A lower bound of the number of calls in flight that are that old; 0 where calls are not timed. */
  callsOlderThan(ms: number): number {
    return this.#ages?.olderThan(ms, this.#seams.now()) ?? 0;
  }

  /** @internal From now on, the duration of each call goes there. */
  recordDurations(recorder: DurationRecorder | undefined): void {
    this.#durations = recorder;
    if (recorder !== undefined) this.timeCalls();
  }

  /** @internal Whether it is open since its own calls failed: not by hand, the fleet's word or the target's own wish. */
  get isTripped(): boolean {
    return this.#state === OPEN && !this.#opening!.isOnDemand && !this.#opening!.isAdvised;
  }

  /** @internal Whether a call to come would be rejected now, but for the time that opens the way to a probe. */
  get isRejecting(): boolean {
    return this.#state === OPEN && this.#enforces(this.#seams.now());
  }

  /** @internal Whether it keeps calls from a target that is known to answer, and will until more time has passed. */
  get isUnhealthy(): boolean {
    return (
      this.#state === OPEN &&
      this.#config.mode === 'enforce' &&
      this.hasAnswered &&
      this.#seams.now() < this.#opening!.until
    );
  }

  /** @internal Whether there were calls within the window, rejected ones included, or are some now. */
  hadCalls(now: number): boolean {
    return (
      this.#record.hasCalls(now) || this.tally.inFlight > 0 || now - this.#calledAt < windowMs(this.#config.window)
    );
  }

  /**
   * Tells, once an hour, of `minimumCalls` calls or more that have waited for a minute: with a call, and with a scrape.
   * Where calls that hang are never given up, and no `slowCallDuration` is set, nothing else would show them.
   *
   * @internal
   */
  tellOfHangingCalls(now = this.#seams.now()): void {
    const { minimumCalls, slowCallDuration } = this.#config;
    if (slowCallDuration !== undefined) return;
    const calls = this.#ages?.hangingToTell(now, minimumCalls) ?? 0;
    if (calls > 0) this.#tellObserver((observer) => observer.onHangingCalls?.(this, calls));
  }

  #ended(permit: Permit): void {
    this.tally.inFlight--;
    this.#ages?.ended(permit.startedAt, (permit.flags & ANSWERED) !== 0);
  }

  /** @internal The first good part of an answer came: good headers, a first reply. */
  settleAnswered(permit: Permit): void {
    this.hasAnswered = true;
    this.#ages?.answered();
    const probes = this.#counts(permit) ? this.#probes : undefined;
    if (probes === undefined && this.#patience === undefined) return;
    const now = this.#seams.now();
    this.#patience?.answered(permit.startedAt, now);
    probes?.answered(permit, now);
  }

  /** @internal */
  settleSuccess(permit: Permit): void {
    this.tally.success++;
    this.#ended(permit);
    this.hasAnswered = true;
    this.#record.lastSuccessStart = permit.startedAt;
    const now = this.#seams.now();
    if (this.#durations !== undefined) this.#recordDuration(this.#durations, now - permit.startedAt);
    // The time to a good answer, never to the end of its body.
    if ((permit.flags & ANSWERED) === 0) this.#patience?.answered(permit.startedAt, now);
    if (!this.#counts(permit)) return;
    if (this.#probes !== undefined) return this.#endProbe(this.#probes, permit, now);
    this.#record.succeeded();
    this.#record.ended(permit, false, now);
    this.#tripIfOver(now, permit.context);
  }

  #endProbe(probes: Probes, permit: Permit, now: number): void {
    // Its answer has counted already.
    if ((permit.flags & COUNTED) !== 0) return;
    probes.end(permit);
    if (!this.#isSlowProbe(permit, now)) return this.#countProbe(probes, now, permit.context);
    probes.bad++;
    if (!probes.isHopeless(this.#config)) return;
    const reason = `a probe was slow, slow from ${formatSeconds(permit.breaker.config.slowCallDuration!)}`;
    this.#opening!.isBySlowness = true;
    this.#open(now, this.#nextOpenDuration(now), reason, undefined, undefined, permit.context);
  }

  /** Whether a probe is as slow as the calls were for which the circuit is open. */
  #isSlowProbe(permit: Permit, now: number): boolean {
    return this.#opening!.isBySlowness && isSlow(permit, now);
  }

  /** A probe has succeeded. */
  #countProbe(probes: Probes, now: number, context: unknown): void {
    probes.good++;
    this.#record.succeeded();
    this.#tellObserver((observer) => observer.onProbeSuccess?.(this));
    const reason = probes.whyProven(this.#config);
    if (reason !== undefined) this.#comeBack(now, reason, context);
  }

  /** The target is back: the circuit closes, at once or by and by. */
  #comeBack(now: number, reason: string, context: unknown, by: ChangedBy = 'self'): void {
    const { recoveryDuration } = this.#config;
    if (recoveryDuration === 0) return this.#transition(CLOSED, now, reason, undefined, context, by);
    if (this.#state === OPEN) this.#transition(HALF_OPEN, now, reason, undefined, context, by);
    this.#probes = undefined;
    this.#recovery = new Recovery(now, recoveryDuration);
    this.#record.begin();
    // No change of state, and still something that happened to the circuit.
    const told = `${reason}; the share of calls that are let through grows for ${formatSeconds(recoveryDuration)}`;
    this.#tellOf(HALF_OPEN, HALF_OPEN, this.#seams.wallNow(), told, undefined, context, 0, by);
  }

  /** Counts the probes that were answered well a while ago and still go on: their verdict need not wait for their end. */
  #countGoodAnswers(now: number, context: unknown): void {
    const probes = this.#probes!;
    for (let permit = probes.takeProven(now); permit !== undefined; permit = probes.takeProven(now)) {
      // Then its end says how slow it was.
      if (this.#isSlowProbe(permit, now)) continue;
      permit.flags |= COUNTED;
      this.#countProbe(probes, now, context);
      if (this.#probes !== probes) return;
    }
  }

  /** @internal */
  settleFailure(permit: Permit, cause: unknown, retryAfterMs?: number, rateOnly = false): void {
    const verdict = judge(cause, permit.breaker.config, this.name, permit.context);
    if (verdict === false) return this.settleSuccess(permit);
    const now = this.#seams.now();
    if (verdict === 'ignored') return this.settleIgnored(permit);
    if ((permit.flags & SHARES_ERRORS) !== 0 && this.#counts(permit)) {
      this.#sharedErrors ??= new SharedErrors();
      if (this.#sharedErrors.isKnown(cause, now)) return this.settleIgnored(permit);
    }

    this.tally.failure++;
    this.#ended(permit);
    if (this.#durations !== undefined) this.#recordDuration(this.#durations, now - permit.startedAt);
    // Ignore 0 and NaN: NaN would never expire.
    const wait = retryAfterMs! > 0 ? Math.min(retryAfterMs!, this.#config.maxOpenDuration) : 0;
    if (!this.#counts(permit)) {
      // A call that began before the circuit opened brings a longer `Retry-After`.
      if (wait > 0 && this.#state === OPEN) this.#opening!.extendTo(now + this.#spreadHold(wait));
      return;
    }
    const note = noteOf(cause);
    if (note?.status !== undefined) this.hasAnswered = true;
    const probes = this.#probes;
    if (rateOnly && probes !== undefined) return probes.end(permit);
    const isUnreached = (permit.flags & EVIDENCE) !== 0 || isUnreachable(cause);
    if (!rateOnly) this.#record.failed(isUnreached, permit.startedAt, now);
    this.#record.lastFailure = note;
    this.#tellObserver((observer) => observer.onFailure?.(this, permit.context));
    if (probes === undefined) this.#record.ended(permit, true, now);
    if (wait > 0) {
      const openFor = this.#spreadHold(wait);
      this.#openOnDemand().hold(now + openFor);
      const reason = `the target asked to wait ${formatSeconds(retryAfterMs!)}`;
      this.#open(now, openFor, reason, note, cause, permit.context);
    } else if (probes !== undefined) {
      probes.end(permit);
      probes.bad++;
      if (!probes.isHopeless(this.#config)) return;
      this.#opening!.isUnreachable = isUnreached;
      const reason = probes.bad === 1 ? 'a probe failed' : `${probes.bad} probes failed`;
      this.#open(now, this.#nextOpenDuration(now), reason, note, cause, permit.context);
    } else {
      this.#tripIfOver(now, permit.context, cause);
    }
  }

  /** @internal */
  settleTimeout(permit: Permit, cause: unknown, rateOnly = false): void {
    const { countTimeouts, isFailure } = permit.breaker.config;
    const now = this.#seams.now();
    const slowest = this.#patience?.slowest ?? -1;
    this.#patience?.waited(permit.startedAt, now);
    const counts =
      isFailure !== undefined || (countTimeouts && !this.#seams.loop.excuses(permit.startedAt, now, slowest));
    if (counts) this.settleFailure(permit, cause, undefined, rateOnly);
    else this.settleIgnored(permit);
  }

  /** @internal */
  settleIgnored(permit: Permit): void {
    this.tally.ignored++;
    this.#ended(permit);
    if (!this.#counts(permit)) return;
    if (this.#probes !== undefined) this.#probes.end(permit);
    else if (this.#record.slowCalls !== undefined) this.#endWithoutVerdict(permit);
  }

  /** @internal The call waited for its target, and is rejected now rather than when it asked. */
  settleRejected(permit: Permit, rejection: CircuitOpenError): void {
    this.tally[this.#state === HALF_OPEN ? 'rejectedHalfOpen' : 'rejectedOpen']++;
    this.#ended(permit);
    this.#tellObserver((observer) => observer.onRejection(this, rejection, true, permit.context));
    if (!this.#counts(permit)) return;
    if (this.#probes !== undefined) this.#probes.end(permit);
    else this.#record.slowCalls?.ended(permit);
  }

  #endWithoutVerdict(permit: Permit): void {
    const now = this.#seams.now();
    if (this.#record.endedWithoutVerdict(permit, now)) this.#tripIfSlow(now, permit.context);
  }

  /** @internal The caller gave up; before a good answer, time decides what that means. */
  settleAbandoned(permit: Permit, cause: unknown): void {
    if ((permit.flags & ANSWERED) !== 0) return this.settleSuccess(permit);
    const now = this.#seams.now();
    const { abandonedAfter } = permit.breaker.config;
    const abandonment =
      this.#patience === undefined || abandonedAfter === 'off'
        ? NO_EVIDENCE
        : this.#patience.abandoned(permit.startedAt, now, abandonedAfter, this.#counts(permit) && this.#wouldOpen(now));
    if (abandonment === NO_EVIDENCE) return this.settleIgnored(permit);
    const error = withoutStack(() => new AbandonedError(now - permit.startedAt, cause));
    this.settleTimeout(permit, error, abandonment === RATE_ONLY);
  }

  /** Whether one more failure would open the circuit. */
  #wouldOpen(now: number): boolean {
    return this.#probes !== undefined || this.#record.isOneFailureAway(now, this.#config);
  }

  /** As `tryAcquire`, for a call of which nobody outside gets the permit. */
  #startRun(): Run | CircuitOpenError {
    if (this.#state !== CLOSED || this.#record.slowCalls !== undefined || this.#config.mode === 'off') {
      const permit = this.tryAcquire();
      return permit instanceof CircuitOpenError ? permit : new Run(permit);
    }
    this.tally.inFlight++;
    return Run.take(this, this.#generation, this.#timed ? this.#startTime(this.#seams.now(), false) : NaN);
  }

  /**
   * Acquires where more has to be looked at than one field.
   *
   * @internal
   * @param config what decides for this call: that of the breaker, or of a rule for some calls only
   */
  acquireUnder(
    config: BreakerConfig,
    context: unknown,
    longRunning: boolean,
    flags: number,
  ): Permit | CircuitOpenError {
    const now = this.#seams.now();
    if (this.#isInUse) this.#tripIfSlow(now, context);
    else if (this.#state === OPEN && now >= this.#opening!.until && this.#isAllowedToProbe(now)) {
      this.#transition(HALF_OPEN, now, `was open for ${formatSeconds(this.#opening!.length)}`, undefined, context);
    } else if (this.#probes !== undefined) this.#countGoodAnswers(now, context);
    if (this.#recovery?.isOver(now)) this.#transition(CLOSED, now, this.#recovery.summary, undefined, context);
    if (this.#state === CLOSED || this.#recovery?.admits(now)) {
      const permit = this.#admit(now, this.#generation, context, longRunning, flags);
      // What is slow later or earlier than the others is seen when it ends.
      const isWatched = !longRunning && config.slowCallDuration === this.#config.slowCallDuration;
      if (isWatched) this.#record.slowCalls?.started(permit);
      if (this.#state !== CLOSED) this.#tellObserver((observer) => observer.onProbe?.(this, context));
      return permit;
    }
    if (this.#probes !== undefined && !longRunning && this.#hasRoomForProbe(now)) {
      const permit = this.#admit(now, this.#generation, context, false, flags);
      this.#startProbe(permit);
      this.#tellObserver((observer) => observer.onProbe?.(this, context));
      return permit;
    }
    return this.#reject(now, context, longRunning, config.mode);
  }

  /** Whether calls go to the target as a matter of course, all or a share of them: not open, and not trying it by probes. */
  get #isInUse(): boolean {
    return this.#state === CLOSED || this.#recovery !== undefined;
  }

  /** @internal The share of calls that are let through just now; `undefined` where it is not growing. */
  get admittedShare(): number | undefined {
    return this.#recovery?.share(this.#seams.now());
  }

  /** @internal Of a half-open circuit: how many of its probes have succeeded. */
  get goodProbes(): number {
    return this.#probes?.good ?? 0;
  }

  /** @internal Some calls are judged by how slow they are, although others are not. */
  watchSlowCalls(): void {
    this.#record.watchSlowCalls();
    this.#ages ??= new CallAges();
  }

  #isAllowedToProbe(now: number): boolean {
    return this.#askAdvisor((advisor) => advisor.mayProbe(this, now), true);
  }

  #hasRoomForProbe(now: number): boolean {
    return this.#probes!.hasRoom(now, this.#config) && this.#isAllowedToProbe(now);
  }

  #startProbe(permit: Permit): void {
    this.#probes!.start(permit);
    this.#askAdvisor((advisor) => advisor.onProbe(this), undefined);
  }

  // What a fleet trips over must not become the error of a call.
  #askAdvisor<Answer>(ask: (advisor: Advisor<CircuitBreaker>) => Answer, otherwise: Answer): Answer {
    if (this.advisor === undefined) return otherwise;
    try {
      return ask(this.advisor);
    } catch (error) {
      diagnostics.report(`Asking the fleet about circuit breaker "${this.name}" failed`, error);
      return otherwise;
    }
  }

  #admit(now: number, generation: number, context: unknown, longRunning: boolean, flags: number): Permit {
    this.tally.inFlight++;
    return new Permit(this, generation, this.#startTime(now, longRunning), context, flags);
  }

  #startTime(now: number, longRunning: boolean): number {
    const { loop } = this.#seams;
    if (this.#timed && now >= loop.due) loop.callBegins(now);
    // NaN is slower than nothing and older than nothing: every comparison with it is false.
    if (longRunning) return NaN;
    if (this.#ages?.started(now)) this.tellOfHangingCalls(now);
    return now;
  }

  #reject(now: number, context: unknown, longRunning: boolean, mode: Mode): Permit | CircuitOpenError {
    const { tally } = this;
    const enforced = this.#enforces(now, mode);
    const open = this.#state === OPEN;
    this.#calledAt = now;
    if (enforced) tally[open ? 'rejectedOpen' : 'rejectedHalfOpen']++;
    else tally[open ? 'unenforcedOpen' : 'unenforcedHalfOpen']++;

    const rejection = this.#rejection(now);
    this.#tellObserver((observer) => observer.onRejection(this, rejection, enforced, context));
    return enforced ? rejection : this.#admit(now, NO_VERDICT, context, longRunning, 0);
  }

  /** @internal What a call is told that was let through, and now ends since the circuit is open. Counts nothing. */
  get rejection(): CircuitOpenError {
    return this.#rejection(this.#seams.now());
  }

  #rejection(now: number): CircuitOpenError {
    return this.#opening!.rejection(this.name, this.#state === OPEN, now, this.#config.openDuration, this.#recovery);
  }

  #enforces(now: number, mode = this.#config.mode): boolean {
    if (mode !== 'enforce') return false;
    return this.#opening!.isOnDemand || this.isPanic?.(now) !== true;
  }

  #recordDuration(durations: DurationRecorder, ms: number): void {
    // Not NaN: not that of a call that takes long by design.
    if (ms >= 0) durations.record(ms);
  }

  /** Whether the outcome of a call says something about the circuit as it is now. */
  #counts(permit: Permit): boolean {
    return (
      permit.generation === this.#generation ||
      // Its good answer has helped to close the circuit: what becomes of the rest is no less true.
      ((permit.flags & COUNTED) !== 0 && this.#state === CLOSED && permit.generation === this.#generation - 1)
    );
  }

  /** Opens a closed circuit when one of its three limits is reached. The window has just been rotated. */
  #tripIfOver(now: number, context: unknown, cause?: unknown): void {
    const reason = this.#record.whyFailing(this.#config);
    if (reason !== undefined) {
      (this.#opening ??= new Opening()).isUnreachable = this.#record.isUnreachable;
      this.#open(now, this.#nextOpenDuration(now), reason, this.#record.lastFailure, cause, context);
    } else this.#tripIfSlow(now, context);
  }

  /** Looked at when a call starts, too: those that hang may be all there are. */
  #tripIfSlow(now: number, context: unknown): void {
    const reason = this.#record.whySlow(now, this.#config);
    if (reason === undefined) return;
    const opening = (this.#opening ??= new Opening());
    opening.isBySlowness = true;
    opening.isUnreachable = false;
    this.#open(now, this.#nextOpenDuration(now), reason, undefined, undefined, context);
  }

  #nextOpenDuration(now: number): number {
    return this.#opening!.nextDuration(now, this.#state === CLOSED, this.#config, this.#seams.random);
  }

  #spreadHold(ms: number): number {
    return spreadHold(ms, this.#config.openJitter, this.#seams.random);
  }

  #openOnDemand(): Opening {
    const opening = (this.#opening ??= new Opening());
    opening.isOnDemand = true;
    opening.isBySlowness = opening.isUnreachable = false;
    return opening;
  }

  /** How long the circuit is open in all, in milliseconds; undefined where it is not, or until `reset()`. */
  get #openFor(): number | undefined {
    return this.#state === OPEN && this.#opening!.length < Infinity ? this.#opening!.length : undefined;
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
    const isAdvised = by === 'fleet' || (this.#state === HALF_OPEN && opening.isAdvised);
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
    const from = this.#state;
    if (from === CLOSED) this.#opening!.troubleBegins(now, this.#config);
    else if (to === CLOSED) this.#opening!.troubleEnds(now);
    const rate = this.#record.failureRate(now);
    this.#changedAt = this.#seams.wallNow();
    // A circuit that has just closed has an empty window, and is called all the same.
    this.#calledAt = now;
    this.#transitionCount++;
    this.transitions ??= new Array<number>(9).fill(0);
    this.transitions[from * 3 + to]!++;
    this.#begin(to);
    this.#tellOf(from, to, this.#changedAt, reason, cause, context, rate, by);
  }

  /** Tells of a change. */
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
    if (this.observer === undefined && this.#announcements === undefined) return;
    const retryAfterMs = this.#openFor === undefined ? undefined : wholeMilliseconds(this.#openFor);
    const states = { from: STATE_NAMES[from], to: STATE_NAMES[to], at: new Date(at) };
    const transition: Transition = { name: this.name, ...states, reason, cause, failureRate: rate, retryAfterMs, by };
    (this.#announcements ??= new Announcements()).announce({ transition, context }, (change) =>
      this.#tellObserver((observer) => observer.onTransition(this, change.transition, change.context)),
    );
  }

  /** Enters a state; what began in an earlier one no longer counts. */
  #begin(state: StateCode): void {
    this.#state = state;
    this.#generation++;
    this.#record.consecutiveSuccesses = 0;
    this.#record.slowCalls?.clear();
    this.#probes = state === HALF_OPEN ? new Probes() : undefined;
    this.#recovery = undefined;
    if (state === OPEN) return;
    if (state === HALF_OPEN) {
      this.#opening!.isOnDemand = false;
      return;
    }
    this.#record.begin();
  }

  // What telemetry trips over must not become the error of a call.
  #tellObserver(tell: (observer: BreakerObserver<CircuitBreaker>) => void): void {
    if (this.observer === undefined) return;
    try {
      tell(this.observer);
    } catch (error) {
      reportOnce(`Telemetry of circuit breaker "${this.name}" failed`, error, 'its circuit works on');
    }
  }

  #ageSlowCalls(): void {
    if (this.#config.slowCallDuration !== undefined) this.#ages ??= new CallAges();
  }
}

const BY_HAND = 'opened by hand';
