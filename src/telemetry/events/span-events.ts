import {
  context as contexts,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Span,
  type SpanContext,
} from '@opentelemetry/api';
import type { BreakerObserver, Transition } from '../../breaker/observer.js';
import type { CircuitBreaker } from '../../breaker/circuit-breaker.js';
import type { CircuitOpenError } from '../../breaker/errors.js';
import { CLOSED } from '../../breaker/state.js';
import { isNonCallable } from '../../breaker/values.js';
import { PACKAGE } from '../../version.js';
import { ATTRIBUTE, EVENT, type EventName } from '../names.js';
import type { CallContext } from './call-context.js';
import type { EmitLog } from './log-events.js';
import type { SpanCapture } from './span-capture.js';

// The last failing calls before an opening that its event names.
const MAX_FAILURES = 5;

/** Where events go: onto spans, into the Logs API, or both. */
export interface EventSinks {
  readonly spans: boolean;
  readonly log: EmitLog | undefined;
}

/** What a fleet says of a breaker that it shares. */
export interface FleetWord {
  readonly failing: number;
  readonly against: number;
  readonly hosts: number;
  /** The span of the failing call on the replica that the fleet heard last, as a `traceparent`. */
  readonly trace: string;
}

/** What is remembered of a breaker, so that one event can point to the calls behind another. */
class Trail {
  /** The last failing calls, the oldest first. */
  readonly failures: SpanContext[] = [];
  /** The call that opened the circuit, and why it did. */
  openedBy: SpanContext | undefined;
  openedReason = '';
  openedRate = 0;
}

/** The last call that failed and was traced. */
export interface FailureTrace {
  readonly traceId: string;
  readonly spanId: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Panic begins, or is over. */
export interface PanicChange {
  readonly active: boolean;
  /** The numbers: "4 of 5 targets that had answered cannot be reached (threshold 50 %)". */
  readonly reason: string;
  /** The circuit whose change brought it about. */
  readonly breaker: CircuitBreaker;
}

interface Event {
  readonly name: EventName;
  readonly attributes: () => Attributes;
  /** What a span of our own for it looks like, where no other records the call. */
  readonly spanName: () => string;
  readonly kind: SpanKind;
  readonly link?: SpanContext | undefined;
  readonly isError: boolean;
  /** Whether it gets a span of its own where no other records the call; default yes. */
  readonly isWorthASpan?: boolean;
}

/**
 * Writes what breakers do into traces, on the span of the call that caused it.
 *
 * Nothing is computed where no span records, and nothing is written for calls that just succeed.
 */
export class SpanEvents implements BreakerObserver<CircuitBreaker> {
  readonly #trails = new WeakMap<CircuitBreaker, Trail>();
  readonly #lastFailures = new WeakMap<CircuitBreaker, FailureTrace>();

  constructor(
    private readonly capture: SpanCapture,
    private readonly sinks: EventSinks,
    private readonly fleetWord: (breaker: CircuitBreaker) => FleetWord | undefined = () => undefined,
  ) {}

  onFailure(breaker: CircuitBreaker, context: unknown): void {
    if (!this.capture.watch()) return;
    const span = standOn(context);
    if (span === undefined) return;
    const { failures } = this.#trailOf(breaker);
    const spanContext = span.spanContext();
    if (failures.push(spanContext) > MAX_FAILURES) failures.shift();
    const { traceId, spanId } = spanContext;
    if (isSampled(span)) this.#lastFailures.set(breaker, { traceId, spanId, at: Date.now() });
  }

  /** The last failing call that can be found among the traces. */
  lastFailure(breaker: CircuitBreaker): FailureTrace | undefined {
    return this.#lastFailures.get(breaker);
  }

  /** The last failing call as a `traceparent`; empty where none was traced. */
  traceOf(breaker: CircuitBreaker): string {
    const failure = this.#lastFailures.get(breaker);
    return failure === undefined ? '' : `00-${failure.traceId}-${failure.spanId}-01`;
  }

  /** @returns the span that the event stands on; `undefined` where nothing records */
  onTransition(breaker: CircuitBreaker, transition: Transition, context: unknown): SpanContext | undefined {
    const { from, to, reason, retryAfterMs, failureRate, cause, by } = transition;
    const word = this.fleetWord(breaker);
    const isAdvised = by === 'fleet';
    const trail = this.#trailOf(breaker);
    const written = this.#write(breaker, context, {
      name: EVENT.transition,
      attributes: () => ({
        [ATTRIBUTE.name]: breaker.name,
        [ATTRIBUTE.stateFrom]: from,
        [ATTRIBUTE.stateTo]: to,
        [ATTRIBUTE.reason]: reason,
        [ATTRIBUTE.failureRate]: failureRate,
        ...(retryAfterMs !== undefined && { [ATTRIBUTE.retryAfterMs]: retryAfterMs }),
        ...(cause !== undefined && { [ATTRIBUTE.errorType]: errorType(cause) }),
        ...(to === 'open' && trail.failures.length > 0 && { [ATTRIBUTE.failures]: trail.failures.map(formatId) }),
        ...(word !== undefined && { [ATTRIBUTE.by]: by }),
        ...(word !== undefined &&
          isAdvised &&
          to === 'open' && {
            [ATTRIBUTE.fleetFailing]: word.failing,
            [ATTRIBUTE.fleetReplicas]: word.hosts,
            [ATTRIBUTE.fleetAgainst]: word.against,
          }),
      }),
      spanName: () => EVENT.transition,
      kind: SpanKind.INTERNAL,
      link: to === 'half_open' ? trail.openedBy : undefined,
      isError: false,
      // It is no part of any call here: one span for each replica would say the same thing.
      isWorthASpan: !isAdvised,
    });
    if (to === 'open') {
      // What failed is a call on another replica.
      trail.openedBy = written ?? (isAdvised ? remoteSpan(word?.trace) : undefined);
      trail.openedReason = reason;
      trail.openedRate = failureRate;
    }
    if (to !== 'half_open') trail.failures.length = 0;
    if (to === 'closed') this.#trails.delete(breaker);
    return written;
  }

  onRejection(breaker: CircuitBreaker, rejection: CircuitOpenError, enforced: boolean, context: unknown): void {
    if (!this.capture.watch() && this.sinks.log === undefined) return;
    const { openedBy, openedReason, openedRate } = this.#trailOf(breaker);
    this.#write(breaker, context, {
      name: EVENT.rejected,
      attributes: () => ({
        [ATTRIBUTE.name]: breaker.name,
        [ATTRIBUTE.stateFrom]: rejection.state,
        [ATTRIBUTE.stateTo]: rejection.state,
        [ATTRIBUTE.reason]: openedReason,
        [ATTRIBUTE.failureRate]: openedRate,
        [ATTRIBUTE.retryAfterMs]: rejection.retryAfterMs,
        [ATTRIBUTE.enforced]: enforced,
        [ATTRIBUTE.errorType]: rejection.code,
        ...(openedBy !== undefined && {
          [ATTRIBUTE.openedByTraceId]: openedBy.traceId,
          [ATTRIBUTE.openedBySpanId]: openedBy.spanId,
        }),
      }),
      spanName: () => (context as CallContext | undefined)?.spanName() ?? breaker.name,
      kind: SpanKind.CLIENT,
      link: openedBy,
      isError: enforced,
    });
  }

  /** Panic began: too many circuits are open, and none rejects any more. Or it ended. */
  onPanic({ breaker, active, reason }: PanicChange, context: unknown): void {
    this.#write(breaker, context, {
      name: EVENT.panic,
      attributes: () => ({ [ATTRIBUTE.name]: breaker.name, [ATTRIBUTE.panic]: active, [ATTRIBUTE.reason]: reason }),
      spanName: () => EVENT.panic,
      kind: SpanKind.INTERNAL,
      isError: false,
    });
  }

  /** A call goes out although the circuit is not closed: a probe. */
  onProbe(breaker: CircuitBreaker, context: unknown): void {
    mark(breaker, recording(spanOf(context)));
  }

  #trailOf(breaker: CircuitBreaker): Trail {
    let trail = this.#trails.get(breaker);
    if (trail === undefined) this.#trails.set(breaker, (trail = new Trail()));
    return trail;
  }

  /**
   * Puts an event where `standOn` says, else on a short span of our own: none is missing from the traces.
   *
   * @returns the span it stands on; `undefined` where nothing records
   */
  #write(breaker: CircuitBreaker, context: unknown, event: Event): SpanContext | undefined {
    const traced = this.capture.watch();
    const known = traced ? spanOf(context) : undefined;
    const span = traced ? standOn(context) : undefined;
    this.sinks.log?.(event.name, event.attributes(), span ?? known);
    if (span !== undefined) {
      if (this.sinks.spans) span.addEvent(event.name, event.attributes());
      mark(breaker, span);
      return span.spanContext();
    }
    const isWorthASpan = event.isWorthASpan !== false;
    return traced && this.sinks.spans && isWorthASpan && isSampled(known)
      ? writeOwnSpan(breaker, known, event)
      : undefined;
  }
}

/** @internal Client spans say which circuit they met, as long as it is not closed. Within other spans there may be several. */
export function mark(
  breaker: Pick<CircuitBreaker, 'name' | 'state' | 'stateCode'>,
  span: (Span & { readonly kind?: SpanKind }) | undefined,
): void {
  if (breaker.stateCode === CLOSED || span?.kind !== SpanKind.CLIENT) return;
  span.setAttributes({ [ATTRIBUTE.name]: breaker.name, [ATTRIBUTE.state]: breaker.state });
}

function writeOwnSpan(breaker: CircuitBreaker, parent: Span | undefined, event: Event): SpanContext | undefined {
  const attributes = event.attributes();
  const { server_address: address, server_port: port } = breaker.labels;
  const span = trace.getTracer(PACKAGE.name, PACKAGE.version).startSpan(
    event.spanName(),
    {
      kind: event.kind,
      attributes: {
        [ATTRIBUTE.name]: breaker.name,
        [ATTRIBUTE.state]: breaker.state,
        ...(address !== undefined && { [ATTRIBUTE.serverAddress]: address }),
        ...(port !== undefined && { [ATTRIBUTE.serverPort]: port }),
        ...(attributes[ATTRIBUTE.errorType] !== undefined && {
          [ATTRIBUTE.errorType]: attributes[ATTRIBUTE.errorType],
        }),
      },
      ...(event.link !== undefined && { links: [{ context: event.link }] }),
    },
    // The call's own span may have ended already; its trace is still where the event belongs.
    parent === undefined ? contexts.active() : trace.setSpan(contexts.active(), parent),
  );
  if (!span.isRecording()) return undefined;
  span.addEvent(event.name, attributes);
  if (event.isError) span.setStatus({ code: SpanStatusCode.ERROR, message: String(attributes[ATTRIBUTE.reason]) });
  span.end();
  return span.spanContext();
}

/** The span of the call; where nobody has said what call it is, the active one. */
function spanOf(context: unknown): Span | undefined {
  return isNonCallable(context) && 'span' in context ? (context as CallContext).span : trace.getActiveSpan();
}

/**
 * The span that takes what is to be said of a call: its own, unless that has ended; then the active one, if it is of the
 * same trace. What is active when a reply comes can be anything: whoever opened the connection, long ago.
 */
function standOn(context: unknown): Span | undefined {
  const known = spanOf(context);
  if (known === undefined || known.isRecording()) return known;
  const active = recording(trace.getActiveSpan());
  return active?.spanContext().traceId === known.spanContext().traceId ? active : undefined;
}

function recording(span: Span | undefined): Span | undefined {
  return span?.isRecording() === true ? span : undefined;
}

/** Whether a span of our own would be recorded: in a trace that was sampled out, it would not, nor should it. */
function isSampled(known: Span | undefined): boolean {
  return known === undefined || (known.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0;
}

/** The span that a `traceparent` names. */
function remoteSpan(traceparent = ''): SpanContext | undefined {
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent) ?? [];
  if (traceId === undefined || spanId === undefined) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags!, 16), isRemote: true };
}

function formatId({ traceId, spanId }: SpanContext): string {
  return `${traceId}/${spanId}`;
}

/** As OpenTelemetry's `error.type`: a code where there is one, else the name of the class. */
export function errorType(error: unknown): string {
  const { code, statusCode, name } = Object(error) as { code?: unknown; statusCode?: unknown; name?: unknown };
  // The conventions for HTTP want the status there.
  if (typeof statusCode === 'number') return String(statusCode);
  if (typeof code === 'string') return code;
  return typeof name === 'string' ? name : '_OTHER';
}
