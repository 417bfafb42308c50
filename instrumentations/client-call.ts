import { reportOnce } from '../src/breaker/diagnostics.js';
import { NO_VERDICT, Permit, SETTLED } from '../src/breaker/permit.js';
import { CLOSED } from '../src/breaker/state.js';
import type { Span } from '@opentelemetry/api';
import { CircuitOpenError, type Admission, type Guard } from '../src/guard/guard.js';
import type { Verdict } from '../src/breaker/verdict.js';
import type { Target } from '../src/target.js';
import type { CallContext } from '../src/telemetry/events/call-context.js';
import { activeContext, isSuppressed } from '../src/telemetry/registered.js';
import { mark } from '../src/telemetry/events/span-events.js';
import type { Attachment } from './attachment.js';

/** How a call comes in. Written once for each kind of call: an object made for each call would be one too many. */
export interface Entry {
  /** It must be made whatever the circuit says, as inside a transaction: counted as every call, never rejected. */
  readonly must?: boolean;
  /** It is slow by design, like a blocking Redis command: never slow, never a probe. */
  readonly longRunning?: boolean;
  /** It came before, with `begin()`, and asks only now. */
  readonly begun?: boolean;
  /** It would wait for a connection: while the circuit is not closed it is rejected, and never a probe. */
  readonly neverProbe?: boolean;
}

const ORDINARY: Entry = {};

/**
 * One attempt of a client: it enters, is sent, and ends once. The only way to a permit, which it is itself from the moment
 * it is let through: an object of its own for that would be one too many for each call.
 *
 * No method throws, whatever is wrong on our side: the client's call then goes through unguarded. A client adds what it
 * knows: the name of OpenTelemetry's span, and what its errors say of the target.
 */
export abstract class ClientCall extends Permit implements CallContext {
  /** The client span that another instrumentation made for the call, else the span that was active when it began. */
  span: Span | undefined = undefined;
  target: Target | undefined = undefined;

  constructor(protected readonly attachment: Attachment) {
    // As long as no circuit has a say in it, it is over.
    super(undefined as never, NO_VERDICT, NaN, SETTLED);
  }

  /** What telemetry knows of it, and `isFailure` is told. */
  override get context(): this {
    return this;
  }

  /** What OpenTelemetry's instrumentation of the client names its spans. Asked only where nothing else records the call. */
  abstract spanName(): string;

  /** What an error that the call ended with says of its target. */
  protected abstract verdictOf(error: unknown): Verdict;

  /** Whether it needs no outcome any more: it has ended, or no circuit counts it. */
  get isOver(): boolean {
    return this.settled;
  }

  /** For those that judge by more than an error: its permit, settled already where it is over. */
  protected get permit(): Permit {
    return this;
  }

  /** It has come, and asks later or takes another one over: its span is the one of now. */
  begin(): void {
    try {
      this.span = this.attachment.callSpan(activeContext());
    } catch (error) {
      reportOnce('Finding the span of a call failed', error);
    }
  }

  /** Asks the guard. @returns why the call must not be made; nothing where it goes ahead */
  enter(target: Target, entry: Entry = ORDINARY): CircuitOpenError | undefined {
    const { attachment } = this;
    if (!attachment.isAttached) return undefined;
    this.target = target;
    try {
      const active = activeContext();
      if (!entry.begun) this.span = attachment.callSpan(active);
      if (isSuppressed(active)) return undefined;
      const admission = ask(attachment.guard, target, this, entry);
      // Let through it is its own permit; where no circuit has a say, it stays over.
      if (admission !== this && admission instanceof CircuitOpenError) return admission;
    } catch (error) {
      this.stepAside(error);
    }
    return undefined;
  }

  /** Enters as a probe of our own making, where a half-open circuit has room for one. @returns whether it had */
  enterAsProbe(target: Target): boolean {
    const { attachment } = this;
    if (!attachment.isAttached) return false;
    this.target = target;
    try {
      this.span = attachment.callSpan(activeContext());
      attachment.guard.probe(target, this);
    } catch (error) {
      this.stepAside(error);
    }
    return !this.settled;
  }

  /**
   * The client's own function was called. Where OpenTelemetry's instrumentation is within ours, it has made its span by
   * now, which from here on is the span of the call.
   */
  sent(): void {
    try {
      const span = this.attachment.innerSpan();
      if (span === undefined) return;
      this.span = span;
      if (!this.settled) mark(this.breaker, span);
    } catch (error) {
      reportOnce('Finding the span of a call failed', error);
    }
  }

  /** Its caller got what it asked for. */
  succeed(): void {
    if (this.settled) return;
    try {
      this.success();
    } catch (fault) {
      this.stepAside(fault);
    }
  }

  /** It ended with this error: `verdictOf` says what that means. */
  fail(error: unknown): void {
    if (this.settled) return;
    try {
      this.settle(this.verdictOf(error), error);
    } catch (fault) {
      this.stepAside(fault);
    }
  }

  /** The first good answer has come, such as headers with a good status. The call goes on; its end is still to be told. */
  override answered(): void {
    if (this.settled) return;
    try {
      super.answered();
    } catch (fault) {
      this.stepAside(fault);
    }
  }

  /**
   * Its caller gave it up before there was a good answer. Whether that is a word on the target depends on how long it
   * waited; a reason that names a timeout is for `fail`.
   */
  override abandon(reason?: unknown): void {
    if (this.settled) return;
    try {
      super.abandon(reason);
    } catch (fault) {
      this.stepAside(fault);
    }
  }

  /** It was never made: its arguments were wrong, or nobody needed it. */
  forgo(): void {
    if (this.settled) return;
    try {
      this.ignore();
    } catch (fault) {
      this.stepAside(fault);
    }
  }

  /** It waited for its target, and its caller gets this rejection in the place of an answer. */
  refuse(rejection: CircuitOpenError): void {
    if (this.settled) return;
    try {
      this.reject(rejection);
    } catch (fault) {
      this.stepAside(fault);
    }
  }

  /** It has finished a handshake with its target. Asked of the circuit only where that is not closed. */
  protected showsLife(target: Target): void {
    if (!this.settled && this.breaker.stateCode !== CLOSED) this.attachment.signOfLife(target);
  }

  /** Ends it where the client knows the verdict. @param retryAfterMs with a failure: how long the target asks to be left alone */
  protected end(verdict: Verdict, cause?: unknown, retryAfterMs?: number): void {
    if (this.settled) return;
    try {
      if (retryAfterMs !== undefined && verdict === 'failure') this.failure(cause, retryAfterMs);
      else this.settle(verdict, cause);
    } catch (fault) {
      this.stepAside(fault);
    }
  }

  /** This is what the other call has become: it owns its permit from here on, and the other one ends without a word. */
  takeOver(other: ClientCall): void {
    this.target ??= other.target;
    try {
      this.takeThePlaceOf(other);
    } catch (fault) {
      this.stepAside(fault);
    }
  }

  // `private`, not `#`: for a private method, each call would carry one field more.
  private stepAside(error: unknown): void {
    reportOnce('Guarding a call failed', error);
    try {
      this.ignore();
    } catch {
      // Whatever is broken there has been reported.
    }
    this.flags |= SETTLED;
  }
}

function ask(guard: Guard, target: Target, call: ClientCall, entry: Entry): Admission {
  if (entry.must) return guard.pass(target, call, entry.longRunning);
  if (entry.neverProbe) return guard.enterUnlessOpen(target, call, entry.longRunning);
  return guard.enter(target, call, entry.longRunning);
}
