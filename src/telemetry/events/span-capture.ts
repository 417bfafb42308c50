import {
  context as contexts,
  SpanKind,
  trace,
  type Context,
  type Span,
  type SpanContext,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api';
import { diagnostics, reportOnce } from '../../breaker/diagnostics.js';
import { ownerOf } from '../../breaker/values.js';
import { PACKAGE } from '../../version.js';
import type { SdkSpan } from './sdk-span.js';

type StartSpan = (this: Tracer, ...args: Parameters<Tracer['startSpan']>) => Span;

/** What the SDK's spans carry beyond the API: which instrumentation made them, and within what. */
interface ScopedSpan extends Span {
  /** JavaScript may name a tracer with anything, or not at all. */
  readonly instrumentationScope?: { readonly name: unknown };
  readonly parentSpanContext?: SpanContext;
}

/** Hears of each span as it starts, and again when it has ended. */
export interface SpanFeed {
  onStart(span: Span): void;
  onEnd(span: SdkSpan): void;
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
  #feeds: SpanFeed | undefined;
  #spanClass: { end: Span['end'] } | undefined;
  #unwatchEnd: (() => void) | undefined;
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
    const owner = ownerOf(tracer as { startSpan: StartSpan }, 'startSpan');
    const { startSpan } = owner;
    const note = this.#note.bind(this);

    const watched: StartSpan = function (this: Tracer, name, options, context) {
      const span = startSpan.call(this, name, options, context);
      note(span, options?.kind);
      return span;
    };
    owner.startSpan = watched;
    this.#unwatch = () => {
      if (owner.startSpan === watched) owner.startSpan = startSpan;
    };
    return true;
  }

  /**
   * The last client span that an instrumentation has made here and nobody has claimed, unless it has ended.
   *
   * @param tracer the name of its tracer: of the instrumentation's package. `undefined` where no package makes such spans
   * @param active the active context, where it is known
   */
  claim(tracer: string | undefined, active?: Context): Span | undefined {
    const span = this.#last;
    if (span === undefined || !isOf(tracer, span)) return undefined;
    this.#last = undefined;
    return span.isRecording() && isOfThisCall(span, active) ? span : undefined;
  }

  /** The last client span, if it is of that tracer, is of no call that asks: nobody is to claim it. */
  forget(tracer: string | undefined): void {
    if (this.#last !== undefined && isOf(tracer, this.#last)) this.#last = undefined;
  }

  /**
   * Spans go to this processor as well, whoever has set up the SDK: one that runs takes no further processors.
   *
   * @returns a function that ends it
   */
  feed(processor: SpanFeed): () => void {
    this.#feeds = processor;
    this.watch();
    return () => {
      this.#feeds = undefined;
      this.#stopWatchingEnd();
    };
  }

  stop(): void {
    this.#unwatch?.();
    this.#unwatch = this.#last = undefined;
    this.#stopWatchingEnd();
  }

  /** Somebody has started a span, and must not notice a fault of ours. */
  #note(span: Span, kind: SpanKind | undefined): void {
    try {
      if (kind === SpanKind.CLIENT) this.#last = span;
      if (this.#feeds !== undefined && span.isRecording()) this.#feed(span);
    } catch (error) {
      reportOnce('Watching the spans of other instrumentations failed', error);
    }
  }

  /** For spans that record; those of the SDK tell, once they have ended, what they recorded. */
  #feed(span: Span): void {
    const spanClass = ownerOf(span as { end: Span['end'] }, 'end');
    if (spanClass !== this.#spanClass) this.#watchEnd(spanClass);
    this.#tell((feeds) => feeds.onStart(span));
  }

  #watchEnd(spanClass: { end: Span['end'] }): void {
    this.#stopWatchingEnd();
    const { end } = spanClass;
    const ended = (span: Span) => this.#tell((feeds) => feeds.onEnd(span as Span & SdkSpan));

    const watched = function (this: Span, ...args: Parameters<Span['end']>): void {
      const isFirst = this.isRecording();
      end.apply(this, args);
      if (isFirst && 'resource' in this) ended(this);
    };
    spanClass.end = watched;
    this.#spanClass = spanClass;
    this.#unwatchEnd = () => {
      if (spanClass.end === watched) spanClass.end = end;
    };
  }

  /** Whoever starts and ends spans must not notice a fault of ours: after the first, no more are fed. */
  #tell(tell: (feeds: SpanFeed) => void): void {
    try {
      if (this.#feeds !== undefined) tell(this.#feeds);
    } catch (error) {
      this.#feeds = undefined;
      diagnostics.report('The console gets no more traces', error);
    }
  }

  #stopWatchingEnd(): void {
    this.#unwatchEnd?.();
    this.#unwatchEnd = this.#spanClass = undefined;
  }
}

function isOf(tracer: string | undefined, { instrumentationScope }: ScopedSpan): boolean {
  return tracer !== undefined && instrumentationScope?.name === tracer;
}

/** One that an unguarded call has left behind was made within another span than the one that is active now. */
function isOfThisCall(span: ScopedSpan, context = contexts.active()): boolean {
  const active = trace.getSpan(context);
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
