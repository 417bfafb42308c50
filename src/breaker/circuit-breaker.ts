import type { Advisor, Evidence } from './advice.js';
import { CallAges } from './call-ages.js';
import { Circuit, PROBE, REFUSED } from './circuit.js';
import { judge } from './classification.js';
import { checkName, resolveConfig, type BreakerConfig } from './config.js';
import { AbandonedError, CircuitOpenError, withoutStack } from './errors.js';
import { noteOf } from './failure-note.js';
import {
  tellObserver,
  type BreakerObserver,
  type DurationKeeper,
  type DurationRecorder,
  type Transition,
} from './observer.js';
import type { BreakerOptions, Mode } from './options.js';
import { NO_EVIDENCE, Patience, RATE_ONLY } from './patience.js';
import {
  ANSWERED,
  EVIDENCE,
  IS_RUN,
  NO_VERDICT,
  Permit,
  PermitWithContext,
  PLAIN,
  SHARES_ERRORS,
  UNGUARDED,
  type PermitIssuer,
} from './permit.js';
import { fallBackLater, notAFunction, rejectLater, Run, takeRun, unguardedRun } from './run.js';
import { realSeams, type BreakerSeams } from './seams.js';
import { SharedErrors } from './shared-errors.js';
import { CLOSED, HALF_OPEN, OPEN, STATE_NAMES, type CircuitState, type StateCode } from './state.js';
import { callsOf, Tally, type BreakerStats } from './tally.js';
import { windowMs } from './window.js';

export type { BreakerSeams } from './seams.js';

const NO_KEEPER: DurationKeeper<unknown> = { recorderOf: () => undefined };
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
  /** @internal */
  observer: BreakerObserver<CircuitBreaker> | undefined;
  /** @internal Asked, where a call is about to be rejected, whether something nearer than the target is broken. */
  isPanic: ((now: number, breaker: CircuitBreaker) => boolean) | undefined;
  /** @internal Who knows more of the target than this process sees. */
  advisor: Advisor<CircuitBreaker> | undefined;
  /** @internal What a fleet says of the target; `undefined` where none shares the breaker. */
  fleetState: StateCode | undefined;

  readonly #seams: BreakerSeams;
  #config: BreakerConfig;
  readonly #circuit: Circuit<CircuitBreaker>;
  #durations: DurationRecorder | undefined;
  // Who keeps the durations of calls, where it needs to be known of each call when it started.
  #timedFor: DurationKeeper<CircuitBreaker> | undefined;
  // What is known of answers and waits, for breakers that time their calls; from the first call on.
  #patience: Patience | undefined;
  #sharedErrors: SharedErrors | undefined;
  #ages: CallAges | undefined;
  /** @internal Whether the target has ever answered. */
  hasAnswered = false;

  /**
   * @param seams for tests: clocks and chance
   * @throws ConfigError naming every option that is unknown or has a bad value
   */
  constructor(name: string, options?: BreakerOptions, seams: BreakerSeams = realSeams) {
    checkName(name);
    this.#name = name;
    this.#seams = seams;
    this.#config = resolveConfig(options, `CircuitBreaker "${name}"`);
    this.#circuit = new Circuit(this, seams);
    this.#ageSlowCalls();
  }

  /** What it goes by in the registry, in metrics and in errors. */
  get name(): string {
    return this.#name;
  }

  /** Reading it changes nothing: an open circuit whose time is up is open until the next call asks. */
  get state(): CircuitState {
    return STATE_NAMES[this.#circuit.state];
  }

  /** @internal */
  get stateCode(): StateCode {
    return this.#circuit.state;
  }

  /** @internal Whether a call that ends well may change its state. */
  get heedsSuccess(): boolean {
    return this.#circuit.heedsSuccess;
  }

  /** @internal As `Circuit.transitions`. */
  get transitions(): readonly number[] | undefined {
    return this.#circuit.transitions;
  }

  /** @internal Whether its last calls failed. */
  get isFailing(): boolean {
    return this.#circuit.record.consecutiveFailures > 0;
  }

  /** @internal Whether calls go to the target as a matter of course: all, or the share of a circuit that recovers. */
  get isInUse(): boolean {
    return this.#circuit.isInUse;
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
    if (!(run instanceof Run)) return rejectLater(run);
    // Here rather than in a function of its own: an error made within `fn` pays half a microsecond for each frame between,
    // and a fifth of one for an argument that `fn` does not take.
    try {
      return run.settleWith(signal === undefined ? fn() : fn(signal), signal);
    } catch (error) {
      return run.failWith(error, signal);
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
    if (!(run instanceof Run)) return fallBackLater(run, fallback);
    try {
      return run.settleWith(signal === undefined ? fn() : fn(signal), signal);
    } catch (error) {
      return run.failWith(error, signal);
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
   * @param context handed on to observers with whatever this call causes; one that is a permit itself becomes that of the call
   * @param longRunning the call is slow by design: never slow, never a probe, its duration not recorded
   * @param flags `SHARES_ERRORS` for a client that ends several calls with one error object; code uses errors again
   */
  tryAcquire(context?: unknown, longRunning = false, flags = 0): Permit | CircuitOpenError {
    if (this.#config.mode === 'off') return flags === IS_RUN ? unguardedRun() : UNGUARDED;
    if (this.#circuit.state !== CLOSED || this.#circuit.slowCalls !== undefined)
      return this.acquireUnder(this.#config, context, longRunning, flags);
    this.tally.inFlight++;
    const startedAt = this.#timedFor !== undefined ? this.#startTime(this.#seams.now(), longRunning) : NaN;
    return issue(this, this.#circuit.generation, startedAt, context, flags);
  }

  /**
   * A probe beyond the calls of the application, where the circuit waits for one and has room for it; never a rejection.
   *
   * @internal
   */
  tryProbe(context?: unknown): Permit | undefined {
    const now = this.#seams.now();
    if (!this.#circuit.admitsProbe(now, context)) return undefined;
    const permit = this.#admit(now, this.#circuit.generation, context, false, 0);
    this.#circuit.startProbe(permit);
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
    const generation = this.#circuit.state === CLOSED ? this.#circuit.generation : NO_VERDICT;
    const permit = this.#admit(this.#seams.now(), generation, context, longRunning, SHARES_ERRORS);
    if (generation === NO_VERDICT) return permit;
    if (!longRunning) this.#circuit.slowCalls?.started(permit);
    return permit;
  }

  /**
   * As `tryAcquire`, for a call that would wait for its connection and so show nothing soon: never a probe.
   *
   * @internal
   */
  acquireUnlessOpen(context?: unknown, longRunning = false, flags = 0): Permit | CircuitOpenError {
    if (this.#config.mode === 'off' || this.#circuit.isInUse) return this.tryAcquire(context, longRunning, flags);
    return this.#reject(this.#seams.now(), context, longRunning, flags, this.#config.mode);
  }

  /**
   * The permit of what a target has shown without being called: a connection that could not be made. One event and one
   * failure; while the circuit is open or tried by probes it says nothing new.
   *
   * @internal
   */
  acquireEvidence(): Permit {
    if (this.#config.mode === 'off' || !this.#circuit.isInUse) return UNGUARDED;
    return this.#admit(this.#seams.now(), this.#circuit.generation, undefined, true, EVIDENCE | SHARES_ERRORS);
  }

  /**
   * A connection to the target was made, up to the end of its handshake. Where the circuit is open since none could be
   * made, the next call may probe at once: once for each opening, and never before the end of a `Retry-After`.
   *
   * @internal
   */
  signOfLife(): void {
    this.#circuit.signOfLife();
  }

  /**
   * As `signOfLife`, of a client that has made all its calls wait for this one connection: the circuit closes.
   *
   * @internal
   */
  closeBySignOfLife(): void {
    this.#circuit.closeBySignOfLife();
  }

  /** What it has counted and where it stands. Changes nothing. */
  stats(): BreakerStats {
    const { record, changedAt, openFor, transitionCount } = this.#circuit;
    const now = this.#seams.now();
    return {
      name: this.name,
      state: this.state,
      consecutiveFailures: record.consecutiveFailures,
      consecutiveSuccesses: record.consecutiveSuccesses,
      transitionCount,
      lastStateChange: new Date(changedAt),
      calls: callsOf(this.tally, this.#ages?.oldest(now) ?? null),
      failureRate: record.failureRate(now),
      slowCallRate: record.slowCallRate(now),
      openUntil: openFor === undefined ? null : new Date(changedAt + openFor),
    };
  }

  /** Closes the circuit and forgets what led to its state. Counts since the start stay: they are counters. */
  reset(): void {
    this.#circuit.reset();
  }

  /** Opens the circuit until `reset()`. */
  forceOpen(): void {
    this.#circuit.forceOpen();
  }

  /**
   * The fleet says that the target is dead: opens for that long, or moves the end of an opening that calls have brought
   * about. While probes try the target, or opened by hand, it does nothing.
   *
   * @internal
   */
  openAdvised(openFor: number, reason: string): void {
    if (this.#config.mode !== 'off') this.#circuit.openAdvised(openFor, reason);
  }

  /**
   * The fleet says that the target is back: closes, or lets the next call probe where this process's own calls have opened
   * it. Opened by hand, or because the target asked for it, it does nothing.
   *
   * @internal
   */
  closeAdvised(reason: string): void {
    this.#circuit.closeAdvised(reason);
  }

  /** @internal Whether it is open since the fleet says so, and not by its own calls. */
  get isAdvised(): boolean {
    return this.#circuit.isAdvised;
  }

  /** @internal Milliseconds for which it is still open; `undefined` where it is not, or until `reset()`. */
  get openLeft(): number | undefined {
    return this.#circuit.openLeft(this.#seams.now());
  }

  /** @internal What its own calls show of the target. */
  evidence(): Evidence {
    return this.#circuit.evidence(this.#seams.now());
  }

  /**
   * Calls the listener after each change of state, which by then has taken effect.
   *
   * @returns a function that ends it
   */
  onTransition(listener: (transition: Transition) => void): () => void {
    return this.#circuit.onTransition(listener);
  }

  /** @internal For the registry, which finds it by its name. */
  rename(name: string): void {
    this.#name = name;
  }

  /** @internal Takes new options and keeps state and counts. */
  reconfigure(config: BreakerConfig): void {
    const previous = this.#config;
    this.#config = config;
    this.#circuit.reconfigured(previous);
    this.#ageSlowCalls();
  }

  /** @internal From now on it is known of each call when it started. */
  timeCalls(): void {
    this.#timedFor ??= NO_KEEPER;
  }

  /** @internal A lower bound of the number of calls in flight that are that old; 0 where calls are not timed. */
  callsOlderThan(ms: number): number {
    return this.#ages?.olderThan(ms, this.#seams.now()) ?? 0;
  }

  /** @internal From now on, the duration of each call goes there; `undefined` ends it. */
  recordDurations(keeper: DurationKeeper<CircuitBreaker> | undefined): void {
    this.#timedFor = keeper ?? NO_KEEPER;
    if (this.#patience !== undefined) this.#durations = this.#timedFor.recorderOf(this);
  }

  /** @internal Whether it is open since its own calls failed: not by hand, the fleet's word or the target's own wish. */
  get isTripped(): boolean {
    return this.#circuit.isTripped;
  }

  /** @internal Whether a call to come would be rejected now, but for the time that opens the way to a probe. */
  get isRejecting(): boolean {
    return this.#circuit.state === OPEN && this.#enforces(this.#seams.now());
  }

  /** @internal Whether it keeps calls from a target that is known to answer, and will until more time has passed. */
  get isUnhealthy(): boolean {
    return this.#config.mode === 'enforce' && this.hasAnswered && this.#circuit.isKeptOpen(this.#seams.now());
  }

  /** @internal Whether there were calls within the window, rejected ones included, or are some now. */
  hadCalls(now: number): boolean {
    // A circuit that has just closed has an empty window, and is called all the same.
    return (
      this.#circuit.record.hasCalls(now) ||
      this.tally.inFlight > 0 ||
      now - this.#circuit.stirredAt < windowMs(this.#config.window)
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
    if (calls > 0) tellObserver(this, (observer) => observer.onHangingCalls?.(this, calls));
  }

  #ended(permit: Permit): void {
    this.tally.inFlight--;
    this.#ages?.ended(permit.startedAt, (permit.flags & ANSWERED) !== 0);
  }

  /** @internal A call in flight has another permit from now on. */
  handOver(from: Permit, to: Permit): void {
    this.#circuit.handOver(from, to);
  }

  /** @internal The first good part of an answer came: good headers, a first reply. */
  settleAnswered(permit: Permit): void {
    this.hasAnswered = true;
    this.#ages?.answered();
    this.#patience?.answered(permit.startedAt, this.#seams.now());
    this.#circuit.answered(permit);
  }

  /** @internal */
  settleSuccess(permit: Permit): void {
    const { tally } = this;
    const { startedAt } = permit;
    const wasAnswered = (permit.flags & ANSWERED) !== 0;
    tally.success++;
    // As `#ended`, written out: what most calls pass is to be compiled into one piece.
    tally.inFlight--;
    this.hasAnswered = true;
    this.#ages?.ended(startedAt, wasAnswered);
    const now = this.#seams.now();
    this.#durations?.record(now - startedAt);
    // The time to a good answer, never to the end of its body.
    if (!wasAnswered) this.#patience?.answered(startedAt, now);
    this.#circuit.succeeded(permit, now);
  }

  /** @internal */
  settleFailure(permit: Permit, cause: unknown, retryAfterMs?: number, rateOnly = false): void {
    const isPlain = (permit.flags & PLAIN) !== 0;
    const verdict = isPlain || judge(cause, permit.breaker.config, this.name, permit.context);
    if (verdict === false) return this.settleSuccess(permit);
    const now = this.#seams.now();
    if (verdict === 'ignored') return this.settleIgnored(permit);
    if ((permit.flags & SHARES_ERRORS) !== 0 && this.#circuit.counts(permit)) {
      this.#sharedErrors ??= new SharedErrors();
      if (this.#sharedErrors.isKnown(cause, now)) return this.settleIgnored(permit);
    }

    this.tally.failure++;
    this.#ended(permit);
    this.#durations?.record(now - permit.startedAt);
    if (!this.#circuit.counts(permit)) return this.#circuit.extend(retryAfterMs, now);
    const note = noteOf(cause);
    if (note?.status !== undefined) this.hasAnswered = true;
    this.#circuit.failed(permit, cause, note, retryAfterMs, rateOnly, now);
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
    this.#circuit.endedWithoutVerdict(permit);
  }

  /** @internal The call waited for its target, and is rejected now rather than when it asked. */
  settleRejected(permit: Permit, rejection: CircuitOpenError): void {
    this.tally[this.#circuit.state === HALF_OPEN ? 'rejectedHalfOpen' : 'rejectedOpen']++;
    this.#ended(permit);
    this.#tellOfRejection(rejection, true, permit.context);
    this.#circuit.endedUnsent(permit);
  }

  /** @internal The caller gave up; before a good answer, time decides what that means. */
  settleAbandoned(permit: Permit, cause: unknown): void {
    if ((permit.flags & ANSWERED) !== 0) return this.settleSuccess(permit);
    const now = this.#seams.now();
    const { abandonedAfter } = permit.breaker.config;
    const abandonment =
      this.#patience === undefined || abandonedAfter === 'off'
        ? NO_EVIDENCE
        : this.#patience.abandoned(permit.startedAt, now, abandonedAfter, this.#circuit.isOneFailureAway(permit, now));
    if (abandonment === NO_EVIDENCE) return this.settleIgnored(permit);
    const error = withoutStack(() => new AbandonedError(now - permit.startedAt, cause));
    this.settleTimeout(permit, error, abandonment === RATE_ONLY);
  }

  /** As `tryAcquire`, for a call of which nobody outside gets the permit. */
  #startRun(): Run | CircuitOpenError {
    const circuit = this.#circuit;
    if (circuit.state !== CLOSED || circuit.slowCalls !== undefined || this.#config.mode === 'off') {
      return this.tryAcquire(undefined, false, IS_RUN) as Run | CircuitOpenError;
    }
    this.tally.inFlight++;
    const startedAt = this.#timedFor !== undefined ? this.#startTime(this.#seams.now(), false) : NaN;
    return takeRun(this, circuit.generation, startedAt);
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
    const circuit = this.#circuit;
    const admission = circuit.admission(now, longRunning, context);
    if (admission === REFUSED) return this.#reject(now, context, longRunning, flags, config.mode);
    const permit = this.#admit(now, circuit.generation, context, longRunning, flags);
    if (admission === PROBE) circuit.startProbe(permit);
    // What is slow later or earlier than the others is seen when it ends.
    else if (!longRunning && config.slowCallDuration === this.#config.slowCallDuration)
      circuit.slowCalls?.started(permit);
    if (circuit.state !== CLOSED) tellObserver(this, (observer) => observer.onProbe?.(this, context));
    return permit;
  }

  /** @internal The share of calls that are let through just now; `undefined` where it is not growing. */
  get admittedShare(): number | undefined {
    return this.#circuit.admittedShare(this.#seams.now());
  }

  /** @internal Of a half-open circuit: how many of its probes have succeeded. */
  get goodProbes(): number {
    return this.#circuit.goodProbes;
  }

  /** @internal Some calls are judged by how slow they are, although others are not. */
  watchSlowCalls(): void {
    this.#circuit.watchSlowCalls();
    this.#ages ??= new CallAges();
  }

  #admit(now: number, generation: number, context: unknown, longRunning: boolean, flags: number): Permit {
    this.tally.inFlight++;
    return issue(this, generation, this.#startTime(now, longRunning), context, flags);
  }

  #startTime(now: number, longRunning: boolean): number {
    // What need not be looked at with each call is looked at with the first one of a slot.
    if (longRunning || this.#patience === undefined || !this.#ages!.hasSlotFor(now)) {
      return this.#startTimeOfFirst(now, longRunning);
    }
    this.#ages!.startedInSlot();
    return now;
  }

  #startTimeOfFirst(now: number, longRunning: boolean): number {
    const { loop } = this.#seams;
    if (this.#timedFor !== undefined) {
      if (now >= loop.due) loop.callBegins(now);
      if (this.#patience === undefined) this.#beginTiming(this.#timedFor);
    }
    // NaN is slower than nothing and older than nothing: every comparison with it is false.
    if (longRunning) return NaN;
    if (this.#ages?.started(now)) this.tellOfHangingCalls(now);
    return now;
  }

  /** With the first timed call: most breakers of a large registry have had none. */
  #beginTiming(keeper: DurationKeeper<CircuitBreaker>): void {
    this.#patience = new Patience();
    this.#durations = keeper.recorderOf(this);
    this.#ages ??= new CallAges();
  }

  #reject(now: number, context: unknown, longRunning: boolean, flags: number, mode: Mode): Permit | CircuitOpenError {
    const { tally } = this;
    const enforced = this.#enforces(now, mode);
    const open = this.#circuit.state === OPEN;
    this.#circuit.rejected(now);
    if (enforced) tally[open ? 'rejectedOpen' : 'rejectedHalfOpen']++;
    else tally[open ? 'unenforcedOpen' : 'unenforcedHalfOpen']++;

    const rejection = this.#circuit.rejection(now);
    if (this.observer !== undefined) this.#tellOfRejection(rejection, enforced, context);
    return enforced ? rejection : this.#admit(now, NO_VERDICT, context, longRunning, flags);
  }

  #tellOfRejection(rejection: CircuitOpenError, enforced: boolean, context: unknown): void {
    tellObserver(this, (observer) => observer.onRejection(this, rejection, enforced, context));
  }

  /** @internal What a call is told that was let through, and now ends since the circuit is open. Counts nothing. */
  get rejection(): CircuitOpenError {
    return this.#circuit.rejection(this.#seams.now());
  }

  #enforces(now: number, mode = this.#config.mode): boolean {
    if (mode !== 'enforce') return false;
    return this.#circuit.isOnDemand || this.isPanic?.(now, this) !== true;
  }

  #ageSlowCalls(): void {
    if (this.#config.slowCallDuration !== undefined) this.#ages ??= new CallAges();
  }
}

/** A record of its own for each call would be one object more where the caller has made one. */
function issue(
  breaker: CircuitBreaker,
  generation: number,
  startedAt: number,
  context: unknown,
  flags: number,
): Permit {
  if (context instanceof Permit) return context.admittedBy(breaker, generation, startedAt, flags);
  if (context !== undefined) return new PermitWithContext(breaker, generation, startedAt, flags, context);
  return (flags & IS_RUN) === 0
    ? new Permit(breaker, generation, startedAt, flags)
    : new Run(breaker, generation, startedAt, flags);
}
