import { SpanKind, trace, type Attributes, type Span, type SpanContext } from '@opentelemetry/api';
import type { BreakerObserver, CircuitBreaker, Transition } from '../breaker/circuit-breaker.js';
import type { CircuitOpenError } from '../breaker/errors.js';
import { PACKAGE } from '../version.js';

const TRANSITION = 'circuit_breaker.state_transition';
const REJECTED = 'circuit_breaker.rejected';

/** Whether an event on a span is one of ours. */
export function isBreakerEvent(name: string): boolean {
  return name === TRANSITION || name === REJECTED;
}

/** Whether an event on a span tells of a change of state. */
export function isTransitionEvent(name: string): boolean {
  return name === TRANSITION;
}

/** Writes what breakers do into traces, on the span of the call that caused it. */
export class SpanEvents implements BreakerObserver {
  // Which call opened a circuit, so that those it rejects can point there.
  readonly #openedBy = new WeakMap<CircuitBreaker, SpanContext>();

  /** @returns the span that the event stands on; `undefined` where nothing records */
  onTransition(breaker: CircuitBreaker, transition: Transition, context: unknown): SpanContext | undefined {
    const { from, to, reason, retryAfterMs, failureRate, cause } = transition;
    const attributes: Attributes = {
      'circuit_breaker.name': breaker.name,
      'circuit_breaker.state.from': from,
      'circuit_breaker.state.to': to,
      'circuit_breaker.reason': reason,
      'circuit_breaker.failure_rate': failureRate,
      ...(retryAfterMs !== undefined && { 'circuit_breaker.retry_after_ms': retryAfterMs }),
      ...(cause !== undefined && { 'error.type': errorType(cause) }),
    };
    const written = writeEvent(TRANSITION, attributes, context);
    if (to === 'open' && written !== undefined) this.#openedBy.set(breaker, written);
    else this.#openedBy.delete(breaker);
    return written;
  }

  onRejection(breaker: CircuitBreaker, rejection: CircuitOpenError, enforced: boolean, context: unknown): void {
    const openedBy = this.#openedBy.get(breaker);
    writeEvent(
      REJECTED,
      {
        'circuit_breaker.name': breaker.name,
        'circuit_breaker.state.from': rejection.state,
        'circuit_breaker.reason': rejection.message,
        'circuit_breaker.retry_after_ms': rejection.retryAfterMs,
        'circuit_breaker.enforced': enforced,
        'error.type': rejection.code,
        ...(openedBy !== undefined && {
          'circuit_breaker.opened_by.trace_id': openedBy.traceId,
          'circuit_breaker.opened_by.span_id': openedBy.spanId,
        }),
      },
      context,
      openedBy,
    );
  }
}

/**
 * Puts an event on the call's span, else on the active one, else on a short span of our own: no event is missing from
 * the traces.
 *
 * @returns the span it stands on; `undefined` where nothing records
 */
function writeEvent(
  name: string,
  attributes: Attributes,
  context: unknown,
  link?: SpanContext,
): SpanContext | undefined {
  const span = recording(context) ?? recording(trace.getActiveSpan());
  if (span !== undefined) {
    span.addEvent(name, attributes);
    return span.spanContext();
  }
  const own = trace.getTracer(PACKAGE.name, PACKAGE.version).startSpan(name, {
    kind: name === REJECTED ? SpanKind.CLIENT : SpanKind.INTERNAL,
    ...(link !== undefined && { links: [{ context: link }] }),
  });
  if (!own.isRecording()) return undefined;
  own.addEvent(name, attributes);
  own.end();
  return own.spanContext();
}

/** A span that still takes events: one that has ended does not. */
function recording(span: unknown): Span | undefined {
  return typeof (span as Partial<Span> | undefined)?.isRecording === 'function' && (span as Span).isRecording()
    ? (span as Span)
    : undefined;
}

/** As OpenTelemetry's `error.type`: a code where there is one, else the name of the class. */
export function errorType(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: unknown };
  if (typeof code === 'string') return code;
  return typeof name === 'string' ? name : '_OTHER';
}
