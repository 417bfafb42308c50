import { resolveConfig, type BreakerConfig } from './config.js';
import { diagnostics } from './diagnostics.js';
import { isOwnTrouble } from './classification.js';
import { CircuitOpenError, ConfigError, withoutStack } from './errors.js';
import { eventLoop, type LoopWatch } from './event-loop-stalls.js';
import { formatPercent, formatSeconds } from './format.js';
import type { BreakerObserver, DurationRecorder, Transition } from './observer.js';
import type { BreakerOptions } from './options.js';
import { Patience } from './patience.js';
import { NO_VERDICT, Permit, UNGUARDED, type PermitIssuer } from './permit.js';
import { fallBackLater, rejectLater, Run } from './run.js';
import { SlowCallWatch } from './slow-call-watch.js';
import { CLOSED, HALF_OPEN, OPEN, STATE_NAMES, type CircuitState, type StateCode } from './state.js';
import { Tally, type BreakerStats } from './tally.js';
import { SlidingWindow } from './window.js';

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

  readonly #seams: BreakerSeams;
  #config: BreakerConfig;
  #state: StateCode = CLOSED;
  // Grows with every change of state; results of calls from an earlier one are dropped.
  #generation = 0;
  #consecutiveFailures = 0;
  #consecutiveSuccesses = 0;
  #transitionCount = 0;
  #changedAt: number;
  #window: SlidingWindow;
  #slowCalls: SlowCallWatch | undefined;
  #durations: DurationRecorder | undefined;
  // Whether a call that starts while closed needs to know when.
  #timed = false;
  // What is known of answers and waits, for breakers that time their calls.
  #patience: Patience | undefined;
  #openFor = 0;
  #openUntil = 0;
  // By hand, or because the target asked for it: not a conclusion of ours, which could be wrong.
  #openOnDemand = false;
  #calledAt = -Infinity;
  #openings = 0;
  #openedReason = '';
  #openedCause: unknown;
  #lastFailure: unknown;
  #probes: Permit[] | undefined;
  #listeners: Set<(transition: Transition) => void> | undefined;

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
    this.#window = new SlidingWindow(this.#config.window, seams.now());
    this.#watchSlowCalls();
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

  /** @internal Whether the target has ever shown that it is there. */
  get hasAnswered(): boolean {
    return this.tally.success > 0;
  }

  /** @internal Whether its last calls failed. */
  get isFailing(): boolean {
    return this.#consecutiveFailures > 0;
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
   */
  tryAcquire(context?: unknown, longRunning = false): Permit | CircuitOpenError {
    if (this.#config.mode === 'off') return UNGUARDED;
    if (this.#state !== CLOSED || this.#slowCalls !== undefined) return this.#acquireWatched(context, longRunning);
    this.tally.inFlight++;
    const startedAt = this.#timed ? this.#startTime(this.#seams.now(), longRunning) : NaN;
    return new Permit(this, this.#generation, startedAt, context);
  }

  /**
   * A probe beyond the calls of the application, where the circuit waits for one and has room for it; never a rejection.
   *
   * @internal
   */
  tryProbe(context?: unknown): Permit | undefined {
    const now = this.#seams.now();
    if (this.#state !== HALF_OPEN || !this.#hasFreeProbe(now)) return undefined;
    const permit = this.#admit(now, this.#generation, context, false);
    this.#probes!.push(permit);
    return permit;
  }

  /**
   * The permit of a call that is made whatever the circuit says. While closed it is a call like any other; otherwise its
   * outcome is counted and has no say, since nobody asked for a probe.
   *
   * @internal
   */
  acquireAnyway(context?: unknown, longRunning = false): Permit {
    if (this.#config.mode === 'off') return UNGUARDED;
    if (this.#state !== CLOSED) return this.#admit(this.#seams.now(), NO_VERDICT, context, longRunning);
    const permit = this.#admit(this.#seams.now(), this.#generation, context, longRunning);
    if (!longRunning) this.#slowCalls?.started(permit);
    return permit;
  }

  /** What it has counted and where it stands. Changes nothing. */
  stats(): BreakerStats {
    const { tally } = this;
    const now = this.#seams.now();
    this.#window.rotate(now);
    return {
      name: this.name,
      state: this.state,
      consecutiveFailures: this.#consecutiveFailures,
      consecutiveSuccesses: this.#consecutiveSuccesses,
      transitionCount: this.#transitionCount,
      lastStateChange: new Date(this.#changedAt),
      calls: {
        success: tally.success,
        failure: tally.failure,
        ignored: tally.ignored,
        rejected: tally.rejectedOpen + tally.rejectedHalfOpen,
        inFlight: tally.inFlight,
      },
      failureRate: this.#failureRate(),
      slowCallRate: this.#slowCallRate(this.#slowCalls?.overdue(now) ?? 0),
      openUntil:
        this.#state === OPEN && Number.isFinite(this.#openFor) ? new Date(this.#changedAt + this.#openFor) : null,
    };
  }

  /** Closes the circuit and forgets what led to its state. Counts since the start stay: they are counters. */
  reset(): void {
    if (this.#state === CLOSED) this.#begin(CLOSED);
    else this.#transition(CLOSED, this.#seams.now(), 'reset by hand', undefined, undefined);
  }

  /** Opens the circuit until `reset()`. */
  forceOpen(): void {
    const now = this.#seams.now();
    this.#openOnDemand = true;
    if (this.#state === OPEN) {
      this.#openFor = this.#openUntil = Infinity;
      this.#openedReason = 'opened by hand';
      this.#openedCause = undefined;
    } else this.#open(now, Infinity, 'opened by hand', undefined, undefined);
  }

  /**
   * Calls the listener after each change of state, which by then has taken effect.
   *
   * @returns a function that ends it
   */
  onTransition(listener: (transition: Transition) => void): () => void {
    this.#listeners ??= new Set();
    // A wrapper, so that the same function can be registered twice and each registration ended on its own.
    const registration = (transition: Transition) => listener(transition);
    this.#listeners.add(registration);
    return () => {
      this.#listeners?.delete(registration);
    };
  }

  /** @internal For the registry, which finds it by its name. */
  rename(name: string): void {
    this.#name = name;
  }

  /** @internal Takes new options and keeps state and counts. */
  reconfigure(config: BreakerConfig): void {
    const previous = this.#config;
    this.#config = config;
    if (config.window !== previous.window) {
      const now = this.#seams.now();
      const { calls, failures, slow } = (this.#window.rotate(now), this.#window);
      this.#window = new SlidingWindow(config.window, now);
      this.#window.add(now, calls, failures, slow);
    }
    if (config.slowCallDuration !== previous.slowCallDuration) this.#watchSlowCalls();
  }

  /** @internal From now on it is known of each call when it started. */
  timeCalls(): void {
    this.#timed = true;
    this.#patience ??= new Patience();
  }

  /** @internal From now on, the duration of each call goes there. */
  recordDurations(recorder: DurationRecorder | undefined): void {
    this.#durations = recorder;
    if (recorder !== undefined) this.timeCalls();
  }

  /** @internal Whether the circuit is open since calls failed: not by hand, and not because the target asked for it. */
  get isTripped(): boolean {
    return this.#state === OPEN && !this.#openOnDemand;
  }

  /** @internal Whether a call to come would be rejected now, but for the time that opens the way to a probe. */
  get isRejecting(): boolean {
    return this.#state === OPEN && this.#enforces(this.#seams.now());
  }

  /** @internal Whether there were calls within the window, rejected ones included, or are some now. */
  hadCalls(now: number): boolean {
    this.#window.rotate(now);
    return this.#window.calls > 0 || this.tally.inFlight > 0 || now - this.#calledAt < this.#config.window;
  }

  /** @internal */
  settleSuccess(permit: Permit): void {
    const { tally } = this;
    tally.inFlight--;
    tally.success++;
    const now = this.#seams.now();
    if (this.#durations !== undefined) this.#recordDuration(this.#durations, now - permit.startedAt);
    this.#patience?.answered(permit.startedAt, now);
    if (!this.#counts(permit)) return;
    this.#consecutiveFailures = 0;
    this.#consecutiveSuccesses++;
    if (this.#state === HALF_OPEN) {
      this.#endProbe(permit, now);
      return;
    }
    this.#window.record(now, false, this.#isSlow(permit, now));
    this.#tripIfOver(now, permit.context);
  }

  #endProbe(permit: Permit, now: number): void {
    this.#releaseProbe(permit);
    const { successThreshold } = this.#config;
    if (this.#consecutiveSuccesses < successThreshold) return;
    const reason = `${this.#consecutiveSuccesses} successful probes in a row (threshold ${successThreshold})`;
    this.#transition(CLOSED, now, reason, undefined, permit.context);
  }

  /** @internal */
  settleFailure(permit: Permit, cause: unknown, retryAfterMs?: number): void {
    const verdict = this.#judge(cause);
    if (verdict === false) return this.settleSuccess(permit);
    if (verdict === 'ignored') return this.settleIgnored(permit);

    const { tally } = this;
    tally.inFlight--;
    tally.failure++;
    const now = this.#seams.now();
    if (this.#durations !== undefined) this.#recordDuration(this.#durations, now - permit.startedAt);
    if (!this.#counts(permit)) return;
    this.#consecutiveSuccesses = 0;
    this.#consecutiveFailures++;
    this.#lastFailure = cause;
    this.#tellObserver((observer) => observer.onFailure?.(this, permit.context));
    if (this.#state === CLOSED) this.#window.record(now, true, this.#isSlow(permit, now));
    // Not zero, and not NaN, of which no time is ever up.
    if (retryAfterMs! > 0) {
      const openFor = Math.min(retryAfterMs!, this.#config.maxOpenDuration);
      this.#openOnDemand = true;
      this.#open(now, openFor, `the target asked to wait ${formatSeconds(retryAfterMs!)}`, cause, permit.context);
    } else if (this.#state === HALF_OPEN) {
      this.#open(now, this.#nextOpenDuration(), 'a probe failed', cause, permit.context);
    } else {
      this.#tripIfOver(now, permit.context);
    }
  }

  /** @internal */
  settleTimeout(permit: Permit, cause: unknown): void {
    const { countTimeouts, isFailure } = this.#config;
    const now = this.#seams.now();
    const slowest = this.#patience?.slowest ?? -1;
    const counts =
      isFailure !== undefined || (countTimeouts && !this.#seams.loop.excuses(permit.startedAt, now, slowest));
    if (counts) this.settleFailure(permit, cause);
    else this.settleIgnored(permit);
  }

  /** @internal */
  settleIgnored(permit: Permit): void {
    this.tally.inFlight--;
    this.tally.ignored++;
    if (!this.#counts(permit)) return;
    if (this.#state === HALF_OPEN) this.#releaseProbe(permit);
    else this.#slowCalls?.ended(permit);
  }

  /** As `tryAcquire`, for a call of which nobody outside gets the permit. */
  #startRun(): Run | CircuitOpenError {
    if (this.#state !== CLOSED || this.#slowCalls !== undefined || this.#config.mode === 'off') {
      const permit = this.tryAcquire();
      return permit instanceof CircuitOpenError ? permit : new Run(permit);
    }
    this.tally.inFlight++;
    return Run.take(this, this.#generation, this.#timed ? this.#startTime(this.#seams.now(), false) : NaN);
  }

  #judge(cause: unknown): boolean | 'ignored' {
    const { isFailure } = this.#config;
    if (isFailure === undefined) return isOwnTrouble(cause) ? 'ignored' : true;
    try {
      const verdict = isFailure(cause);
      return verdict === false || verdict === 'ignored' ? verdict : true;
    } catch (error) {
      diagnostics.report(`isFailure of circuit breaker "${this.name}" threw; the call counts as a failure`, error);
      return true;
    }
  }

  /** Acquires where more has to be looked at than one field. */
  #acquireWatched(context: unknown, longRunning: boolean): Permit | CircuitOpenError {
    const now = this.#seams.now();
    if (this.#state === CLOSED) this.#tripIfSlow(now, context);
    else if (this.#state === OPEN && now >= this.#openUntil) {
      this.#transition(HALF_OPEN, now, `was open for ${formatSeconds(this.#openFor)}`, undefined, context);
    }
    if (this.#state === CLOSED) {
      const permit = this.#admit(now, this.#generation, context, longRunning);
      if (!longRunning) this.#slowCalls?.started(permit);
      return permit;
    }
    if (this.#state === HALF_OPEN && !longRunning && this.#hasFreeProbe(now)) {
      const permit = this.#admit(now, this.#generation, context, false);
      this.#probes!.push(permit);
      this.#tellObserver((observer) => observer.onProbe?.(this, context));
      return permit;
    }
    return this.#reject(now, context, longRunning);
  }

  #admit(now: number, generation: number, context: unknown, longRunning: boolean): Permit {
    this.tally.inFlight++;
    return new Permit(this, generation, this.#startTime(now, longRunning), context);
  }

  #startTime(now: number, longRunning: boolean): number {
    const { loop } = this.#seams;
    if (this.#timed && now >= loop.due) loop.callBegins(now);
    // NaN is slower than nothing and older than nothing: every comparison with it is false.
    return longRunning ? NaN : now;
  }

  #reject(now: number, context: unknown, longRunning: boolean): Permit | CircuitOpenError {
    const { tally } = this;
    const enforced = this.#enforces(now);
    const open = this.#state === OPEN;
    this.#calledAt = now;
    if (enforced) tally[open ? 'rejectedOpen' : 'rejectedHalfOpen']++;
    else tally[open ? 'unenforcedOpen' : 'unenforcedHalfOpen']++;

    const state = open ? 'open' : 'half_open';
    // Opened by hand, nothing says when to come back: the ordinary open time is as good an advice as any.
    const wait = Number.isFinite(this.#openUntil) ? this.#openUntil - now : this.#config.openDuration;
    const rejection = withoutStack(
      () => new CircuitOpenError(this.name, state, open ? Math.ceil(wait) : 0, this.#openedReason, this.#openedCause),
    );
    this.#tellObserver((observer) => observer.onRejection(this, rejection, enforced, context));
    return enforced ? rejection : this.#admit(now, NO_VERDICT, context, longRunning);
  }

  #enforces(now: number): boolean {
    if (this.#config.mode !== 'enforce') return false;
    return this.#openOnDemand || this.isPanic?.(now) !== true;
  }

  /** A probe that was silent for too long gives its slot back; whatever it brings later has no verdict. */
  #hasFreeProbe(now: number): boolean {
    const { halfOpenMaxCalls, halfOpenTimeout } = this.#config;
    const probes = this.#probes!;
    if (probes.length < halfOpenMaxCalls) return true;
    // Probes stand in the order of their start, so only the first ones can be too old.
    while (probes.length > 0 && now - probes[0]!.startedAt >= halfOpenTimeout) probes.shift()!.generation = NO_VERDICT;
    return probes.length < halfOpenMaxCalls;
  }

  #releaseProbe(permit: Permit): void {
    const probes = this.#probes!;
    probes.splice(probes.indexOf(permit), 1);
  }

  #recordDuration(durations: DurationRecorder, ms: number): void {
    // Not NaN: not that of a call that takes long by design.
    if (ms >= 0) durations.record(ms);
  }

  /** Whether the outcome of a call says something about the circuit as it is now. */
  #counts(permit: Permit): boolean {
    return permit.generation === this.#generation;
  }

  #isSlow(permit: Permit, now: number): boolean {
    if (this.#slowCalls === undefined) return false;
    this.#slowCalls.ended(permit);
    return now - permit.startedAt >= this.#slowCalls.slowCallDuration;
  }

  /** Opens a closed circuit when one of its three limits is reached. The window has just been rotated. */
  #tripIfOver(now: number, context: unknown): void {
    const reason = this.#whyFailing();
    if (reason !== undefined) this.#open(now, this.#nextOpenDuration(), reason, this.#lastFailure, context);
    else if (this.#slowCalls !== undefined) this.#tripIfSlow(now, context);
  }

  #whyFailing(): string | undefined {
    const { failureThreshold, minimumCalls, failureRateThreshold, window } = this.#config;
    if (this.#consecutiveFailures >= failureThreshold) {
      return `${this.#consecutiveFailures} consecutive failures (threshold ${failureThreshold})`;
    }
    const { calls, failures } = this.#window;
    if (calls < minimumCalls || failures < calls * failureRateThreshold) return undefined;
    return `failure rate ${describeRate(this.#failureRate(), calls, window, failureRateThreshold)}`;
  }

  /** Looked at when a call starts, too: those that hang may be all there are. */
  #tripIfSlow(now: number, context: unknown): void {
    const slowCalls = this.#slowCalls;
    if (slowCalls === undefined) return;
    const { minimumCalls, slowCallRateThreshold, window } = this.#config;
    this.#window.rotate(now);
    const overdue = slowCalls.overdue(now);
    const calls = this.#window.calls + overdue;
    if (calls < minimumCalls || this.#window.slow + overdue < calls * slowCallRateThreshold) return;
    const rate = describeRate(this.#slowCallRate(overdue), calls, window, slowCallRateThreshold);
    const reason = `slow-call rate ${rate}, slow from ${formatSeconds(slowCalls.slowCallDuration)}`;
    this.#open(now, this.#nextOpenDuration(), reason, undefined, context);
  }

  #failureRate(): number {
    const { calls, failures } = this.#window;
    return calls === 0 ? 0 : failures / calls;
  }

  #slowCallRate(overdue: number): number {
    const calls = this.#window.calls + overdue;
    return calls === 0 ? 0 : (this.#window.slow + overdue) / calls;
  }

  /** How long the next opening lasts: longer each time a probe has failed, never beyond `maxOpenDuration`. */
  #nextOpenDuration(): number {
    const { openDuration, openBackoff, openJitter, maxOpenDuration } = this.#config;
    // Capped before it is spread, or jitter would be lost on a wait that has grown far beyond the cap.
    const backedOff = Math.min(openDuration * openBackoff ** this.#openings, maxOpenDuration);
    const spread = openJitter === 0 ? 1 : 1 + openJitter * (2 * this.#seams.random() - 1);
    return Math.min(backedOff * spread, maxOpenDuration);
  }

  #open(now: number, openFor: number, reason: string, cause: unknown, context: unknown): void {
    this.#openFor = openFor;
    this.#openUntil = now + openFor;
    this.#openedReason = reason;
    this.#openedCause = cause;
    this.#openings++;
    this.#transition(OPEN, now, reason, cause, context);
  }

  #transition(to: StateCode, now: number, reason: string, cause: unknown, context: unknown): void {
    const from = this.#state;
    this.#window.rotate(now);
    const failureRate = this.#failureRate();
    this.#changedAt = this.#seams.wallNow();
    // A circuit that has just closed has an empty window, and is called all the same.
    this.#calledAt = now;
    this.#transitionCount++;
    this.transitions ??= new Array<number>(9).fill(0);
    this.transitions[from * 3 + to]!++;
    this.#begin(to);

    if (this.observer === undefined && this.#listeners === undefined) return;
    const transition: Transition = {
      name: this.name,
      from: STATE_NAMES[from],
      to: STATE_NAMES[to],
      at: new Date(this.#changedAt),
      reason,
      cause,
      failureRate,
      retryAfterMs: to === OPEN && Number.isFinite(this.#openFor) ? Math.ceil(this.#openFor) : undefined,
    };
    this.#tellObserver((observer) => observer.onTransition(this, transition, context));
    for (const listener of this.#listeners ?? []) this.#tell(listener, transition);
  }

  /** Enters a state; nothing that began in an earlier one has a say in it. */
  #begin(state: StateCode): void {
    this.#state = state;
    this.#generation++;
    this.#consecutiveSuccesses = 0;
    this.#slowCalls?.clear();
    this.#probes = state === HALF_OPEN ? [] : undefined;
    if (state === OPEN) return;
    this.#openOnDemand = false;
    if (state === HALF_OPEN) return;
    this.#window.clear();
    this.#consecutiveFailures = 0;
    this.#openings = 0;
    this.#lastFailure = this.#openedCause = undefined;
  }

  #tell(listener: (transition: Transition) => void, transition: Transition): void {
    try {
      listener(transition);
    } catch (error) {
      diagnostics.report(`A transition listener of circuit breaker "${this.name}" threw`, error);
    }
  }

  // What telemetry trips over must not become the error of a call.
  #tellObserver(tell: (observer: BreakerObserver<CircuitBreaker>) => void): void {
    if (this.observer === undefined) return;
    try {
      tell(this.observer);
    } catch (error) {
      diagnostics.report(`Telemetry of circuit breaker "${this.name}" failed`, error);
    }
  }

  #watchSlowCalls(): void {
    const { slowCallDuration } = this.#config;
    this.#slowCalls = slowCallDuration === undefined ? undefined : new SlowCallWatch(slowCallDuration);
  }
}

/** An error of the caller, which made its call before it asked: no word on the target. */
function notAFunction(fn: unknown): Promise<never> {
  const given = fn instanceof Promise ? 'a promise: its call is made already' : typeof fn;
  return Promise.reject(
    new TypeError(`A circuit breaker calls a function that makes the call; it was given ${given}.`),
  );
}

function checkName(name: unknown): void {
  if (typeof name === 'string' && name !== '') return;
  const consequence = 'nobody could tell its metrics and errors from those of other breakers';
  throw new ConfigError('CircuitBreaker', [
    { path: 'name', value: name, consequence, allowed: 'Use a string that is not empty.' },
  ]);
}

function describeRate(rate: number, calls: number, window: number, threshold: number): string {
  return `${formatPercent(rate)} of ${calls} calls in ${formatSeconds(window)} (threshold ${formatPercent(threshold)})`;
}
