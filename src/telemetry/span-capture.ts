import { SpanKind, trace, type Span, type SpanContext, type Tracer, type TracerProvider } from '@opentelemetry/api';
import { PACKAGE } from '../version.js';

type StartSpan = (this: Tracer, ...args: Parameters<Tracer['startSpan']>) => Span;

/** What the SDK's spans carry beyond the API: which instrumentation made them, and within what. */
interface ScopedSpan extends Span {
  readonly instrumentationScope?: { readonly name: string };
  readonly parentSpanContext?: SpanContext;
}

/**
 * Finds the client span that another instrumentation made for a call.
 *
 * That span is active inside an http call only. For undici, ioredis and pg it is started just before or inside the
 * client's own function and never made active, whichever of us was loaded first. So the SDK's `startSpan` is watched: the
 * last client span it made is the call's, if the instrumentation of that client made it.
 */
export class SpanCapture {
  #last: ScopedSpan | undefined;
  #unwatch: (() => void) | undefined;

  /**
   * Begins once a real tracer provider is there; to be called again until then.
   *
   * @returns whether there is one, and so anybody to see spans
   */
  watch(): boolean {
    if (this.#unwatch !== undefined) return true;
    const tracer = realTracer();
    if (tracer === undefined) return false;
    const owner = ownerOfStartSpan(tracer);
    const { startSpan } = owner;
    const remember = (span: Span) => (this.#last = span);

    const watched: StartSpan = function (this: Tracer, name, options, context) {
      const span = startSpan.call(this, name, options, context);
      if (options?.kind === SpanKind.CLIENT) remember(span);
      return span;
    };
    owner.startSpan = watched;
    this.#unwatch = () => {
      if (owner.startSpan === watched) owner.startSpan = startSpan;
    };
    return true;
  }

  /**
   * The last client span that the instrumentation of that client has made here and nobody has claimed, unless it has ended.
   *
   * @param client such as `ioredis`: OpenTelemetry's is then `@opentelemetry/instrumentation-ioredis`
   */
  claim(client: string): Span | undefined {
    const span = this.#last;
    if (span?.instrumentationScope?.name.endsWith(`-${client}`) !== true) return undefined;
    this.#last = undefined;
    return span.isRecording() && isOfThisCall(span) ? span : undefined;
  }

  stop(): void {
    this.#unwatch?.();
    this.#unwatch = this.#last = undefined;
  }
}

/** One that an unguarded call has left behind was made within another span than the one that is active now. */
function isOfThisCall(span: ScopedSpan): boolean {
  const active = trace.getActiveSpan();
  return span === active || span.parentSpanContext?.spanId === active?.spanContext().spanId;
}

function realTracer(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  const tracer = delegateOf(provider).getTracer(PACKAGE.name, PACKAGE.version);
  return tracer.constructor.name === 'NoopTracer' ? undefined : tracer;
}

// By shape: the class of another copy of the API, such as that for ES modules, is another one.
function delegateOf(provider: TracerProvider & { getDelegate?(): TracerProvider }): TracerProvider {
  return provider.getDelegate?.() ?? provider;
}

function ownerOfStartSpan(tracer: Tracer): { startSpan: StartSpan } {
  let owner: { startSpan: StartSpan } = tracer;
  while (!Object.hasOwn(owner, 'startSpan')) owner = Object.getPrototypeOf(owner) as Tracer;
  return owner;
}
