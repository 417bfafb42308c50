import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { BreakerConfig } from '../breaker/config.js';
import { CircuitOpenError } from '../breaker/errors.js';
import { UNGUARDED, type Permit, type PermitIssuer } from '../breaker/permit.js';
import type { CircuitState, StateCode } from '../breaker/state.js';

/**
 * A breaker as some of its calls have it: a rule for their path or method judges them by options of its own, and the circuit is
 * the one of the breaker.
 */
export class BreakerUnderRule implements PermitIssuer {
  constructor(
    readonly breaker: CircuitBreaker,
    readonly config: BreakerConfig,
  ) {
    if (config.slowCallDuration !== undefined) breaker.watchSlowCalls();
  }

  get name(): string {
    return this.breaker.name;
  }

  get state(): CircuitState {
    return this.breaker.state;
  }

  get stateCode(): StateCode {
    return this.breaker.stateCode;
  }

  get heedsSuccess(): boolean {
    return this.breaker.heedsSuccess;
  }

  get isRejecting(): boolean {
    return this.breaker.isRejecting;
  }

  get rejection(): CircuitOpenError {
    return this.breaker.rejection;
  }

  tryAcquire(context?: unknown, longRunning = false, flags = 0): Permit | CircuitOpenError {
    if (this.config.mode === 'off') return UNGUARDED;
    return this.#own(this.breaker.acquireUnder(this.config, context, longRunning, flags));
  }

  acquireUnlessOpen(context?: unknown, longRunning = false, flags = 0): Permit | CircuitOpenError {
    if (this.config.mode === 'off') return UNGUARDED;
    return this.#own(this.breaker.acquireUnlessOpen(context, longRunning, flags));
  }

  acquireAnyway(context?: unknown, longRunning = false): Permit {
    if (this.config.mode === 'off') return UNGUARDED;
    return this.#own(this.breaker.acquireAnyway(context, longRunning));
  }

  acquireEvidence(): Permit {
    return this.config.mode === 'off' ? UNGUARDED : this.#own(this.breaker.acquireEvidence());
  }

  tryProbe(context?: unknown): Permit | undefined {
    const permit = this.breaker.tryProbe(context);
    return permit && this.#own(permit);
  }

  settleSuccess(permit: Permit): void {
    this.breaker.settleSuccess(permit);
  }

  settleFailure(permit: Permit, cause: unknown, retryAfterMs?: number): void {
    this.breaker.settleFailure(permit, cause, retryAfterMs);
  }

  settleTimeout(permit: Permit, cause: unknown): void {
    this.breaker.settleTimeout(permit, cause);
  }

  settleIgnored(permit: Permit): void {
    this.breaker.settleIgnored(permit);
  }

  settleRejected(permit: Permit, rejection: CircuitOpenError): void {
    this.breaker.settleRejected(permit, rejection);
  }

  settleAbandoned(permit: Permit, cause: unknown): void {
    this.breaker.settleAbandoned(permit, cause);
  }

  settleAnswered(permit: Permit): void {
    this.breaker.settleAnswered(permit);
  }

  handOver(from: Permit, to: Permit): void {
    this.breaker.handOver(from, to);
  }

  /** The permit settles through this one, and so by the options of the rule. */
  #own<T extends Permit | CircuitOpenError>(admission: T): T {
    if (!(admission instanceof CircuitOpenError) && admission !== UNGUARDED) admission.breaker = this;
    return admission;
  }
}
