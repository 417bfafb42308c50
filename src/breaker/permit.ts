import type { CircuitOpenError } from './errors.js';
import { askedWaitOf, hasGivenUp, verdictOf, verdictOfPlain } from './classification.js';
import type { BreakerConfig } from './config.js';
import { CLOSED, type CircuitState, type StateCode } from './state.js';
import type { Verdict } from './verdict.js';

// A permit of this generation is of no generation that a circuit can have: its outcome is counted and gives no verdict.
export const NO_VERDICT = -1;

// Flags of a permit: its error may be shared by several calls of one client; a good answer has begun; it has counted as a
// good probe already; it stands for a connection that could not be made.
export const SHARES_ERRORS = 1;
export const ANSWERED = 2;
export const COUNTED = 4;
export const EVIDENCE = 8;
// It is a run, and none that serves again; the error that it ends with says nothing but a message.
export const IS_RUN = 16;
export const PLAIN = 32;
// It has been settled, or no circuit counts it.
export const SETTLED = 64;

/** What a permit settles through: the breaker that made it, of which a permit knows no more than this. */
export interface PermitIssuer {
  readonly name: string;
  readonly config: BreakerConfig;
  readonly state: CircuitState;
  /** @internal */
  readonly stateCode: StateCode;
  /** @internal Whether a call that ends well may change its state. */
  readonly heedsSuccess: boolean;
  /** @internal */
  settleSuccess(permit: Permit): void;
  /** @internal */
  settleFailure(permit: Permit, cause: unknown, retryAfterMs?: number): void;
  /** @internal */
  settleTimeout(permit: Permit, cause: unknown): void;
  /** @internal */
  settleIgnored(permit: Permit): void;
  /** @internal */
  settleRejected(permit: Permit, rejection: CircuitOpenError): void;
  /** @internal */
  settleAbandoned(permit: Permit, cause: unknown): void;
  /** @internal */
  settleAnswered(permit: Permit): void;
  /** @internal */
  handOver(from: Permit, to: Permit): void;
}

/** The right to make one call. Settled once; settling again does nothing. What a client knows of a call may extend it. */
export class Permit {
  // Declared only, so that none of them is `undefined` before it has its value: V8 then keeps the time in its place,
  // where it would make an object of every new one.
  /** @internal */
  declare breaker: PermitIssuer;
  /** @internal */
  declare generation: number;
  /** @internal */
  declare startedAt: number;
  /** @internal */
  declare flags: number;

  /** @internal Made by a breaker only. */
  constructor(breaker: PermitIssuer, generation: number, startedAt: number, flags = 0) {
    this.breaker = breaker;
    this.generation = generation;
    this.startedAt = startedAt;
    this.flags = flags;
  }

  /** @internal Whether its outcome is known by now, or no circuit counts it. */
  get settled(): boolean {
    return (this.flags & SETTLED) !== 0;
  }

  /** @internal What observers get with everything the call causes; the core only hands it on. */
  get context(): unknown {
    return undefined;
  }

  /** @internal The breaker lets a call go ahead which is its own permit. */
  admittedBy(breaker: PermitIssuer, generation: number, startedAt: number, flags: number): this {
    this.breaker = breaker;
    this.generation = generation;
    this.startedAt = startedAt;
    this.flags = flags;
    return this;
  }

  /** @internal From here on this is the permit that another one was, which ends without a word. */
  takeThePlaceOf(other: Permit): void {
    if (other.settled) {
      this.flags |= SETTLED;
      return;
    }
    this.admittedBy(other.breaker, other.generation, other.startedAt, other.flags);
    other.flags |= SETTLED;
    this.breaker.handOver(other, this);
  }

  /**
   * @internal A good answer has begun: good headers, a first reply. What the call's outcome is, its end says; a probe gives
   * its slot back now.
   */
  answered(): void {
    if ((this.flags & (SETTLED | ANSWERED)) !== 0) return;
    this.breaker.settleAnswered(this);
    this.flags |= ANSWERED;
  }

  /** The target answered as it should. */
  success(): void {
    if (this.settled) return;
    this.flags |= SETTLED;
    this.breaker.settleSuccess(this);
  }

  /**
   * The call failed. `isFailure` of the breaker's options has the last word on what that means; without it, a cause that
   * says that our own machine could not make the call (such as `EMFILE`) is ignored.
   *
   * @param cause becomes the `cause` of rejections if this failure opens the circuit
   * @param retryAfterMs the target asked to be left alone for so long: the circuit opens at once
   */
  failure(cause?: unknown, retryAfterMs?: number): void {
    if (this.settled) return;
    this.flags |= SETTLED;
    this.breaker.settleFailure(this, cause, retryAfterMs);
  }

  /**
   * The call ran out of time: a failure; ignored where `countTimeouts` is false, and where our own event loop stood for
   * so long that a good answer could not have been taken in.
   */
  timeout(cause?: unknown): void {
    if (this.settled) return;
    this.flags |= SETTLED;
    this.breaker.settleTimeout(this, cause);
  }

  /** The call says nothing about the target: the caller gave up, or its input was wrong. */
  ignore(): void {
    if (this.settled) return;
    this.flags |= SETTLED;
    this.breaker.settleIgnored(this);
  }

  /** @internal It waited for its target without being sent, and its caller gets this rejection now. */
  reject(rejection: CircuitOpenError): void {
    if (this.settled) return;
    this.flags |= SETTLED;
    this.breaker.settleRejected(this, rejection);
  }

  /**
   * The caller gave up and did not say that time ran out. After a good answer has begun that is a success. Before, it is a
   * timeout where the caller has waited for `abandonedAfter` at least and the target has been silent for longer than it
   * ever is; else, and where nobody knows when the call began, it says nothing of the target.
   *
   * @param cause what the caller gave as its reason: the `cause` of the failure, whose code is `ERR_ABANDONED`
   */
  abandon(cause?: unknown): void {
    if (this.settled) return;
    this.flags |= SETTLED;
    this.breaker.settleAbandoned(this, cause);
  }

  /** @internal From now on its outcome is counted and gives no verdict: what it shows has been told. A probe keeps its say. */
  withhold(): void {
    if (this.breaker.stateCode === CLOSED) this.generation = NO_VERDICT;
  }

  /** @internal Its failure will say that no connection to the target could be had. */
  becomeEvidence(): void {
    this.flags |= EVIDENCE;
  }

  /** @internal Settles by a verdict; `cause` is what it was given on. */
  settle(verdict: Verdict, cause?: unknown): void {
    switch (verdict) {
      case 'success':
        return this.success();
      case 'failure':
        return this.failure(cause);
      case 'timeout':
        return this.timeout(cause);
      case 'ignored':
        return this.ignore();
    }
  }

  /**
   * @internal The call ended with this error, which says which of the above it is, as `CircuitBreaker.call` has it.
   *
   * @param signal what its caller could give up with
   */
  settleByError(error: unknown, signal?: AbortSignal): void {
    if (this.settled) return;
    const { config } = this.breaker;
    // `isFailure` sees every error.
    if (config.isFailure === undefined && signal?.aborted !== true) {
      const verdict = verdictOfPlain(error, config);
      if (verdict !== undefined) {
        this.flags |= PLAIN;
        return this.settle(verdict, error);
      }
    }
    const wait = askedWaitOf(error, config);
    if (wait !== undefined) return this.failure(error, wait);
    const verdict = config.isFailure === undefined ? verdictOf(error, config, signal) : 'failure';
    if (verdict === 'ignored' && hasGivenUp(error, signal)) this.abandon(error);
    else this.settle(verdict, error);
  }
}

/** The permit of a call that was acquired with something for observers, which is no permit itself. */
export class PermitWithContext extends Permit {
  readonly #context: unknown;

  /** @internal */
  constructor(breaker: PermitIssuer, generation: number, startedAt: number, flags: number, context: unknown) {
    super(breaker, generation, startedAt, flags);
    this.#context = context;
  }

  /** @internal */
  override get context(): unknown {
    return this.#context;
  }
}

/** The permit of a call that no circuit counts: settled from the start, so there is nothing to watch. */
export const UNGUARDED: Permit = new Permit(undefined as never, NO_VERDICT, NaN, SETTLED);
