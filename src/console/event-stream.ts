import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CircuitBreakerRegistry } from '../breaker/registry.js';
import type { Panic } from '../guard/panic.js';
import type { SpanCapture } from '../telemetry/events/span-capture.js';
import type { TraceRing } from './history/trace-ring.js';
import type { TransitionLog } from './history/transition-log.js';
import { LimitedLog } from './limited-log.js';
import { SECURITY_HEADERS, sendText } from './respond.js';
import { PieceWriter, SharedAnswer, type Pieces } from './shared-answer.js';
import type { BreakerView, Snapshot, Tick } from './api.js';
import { viewBreaker, viewTrace, viewTransition } from './serialize.js';

// Captured at load: an application's fake timers must not stop the page.
const { setInterval, clearInterval } = globalThis;

const TICK_MS = 1_000;
const MAX_READERS = 20;
// A reader that is so far behind has gone, or will do better to begin again.
const MAX_BEHIND_BYTES = 4 * 1024 * 1024;
// An open circuit can make hundreds of traces each second; nobody reads as many.
const MAX_TRACES_PER_TICK = 10;

export interface LiveSource {
  readonly registry: CircuitBreakerRegistry;
  readonly panic: Pick<Panic, 'reason'>;
  readonly transitions: TransitionLog;
  readonly traces: TraceRing;
  readonly spans: Pick<SpanCapture, 'watch'>;
}

/**
 * Server-sent events: everything at first, then what changed, once a second. Nothing is looked at while nobody reads.
 */
export class LiveEvents {
  readonly #readers = new Set<ServerResponse>();
  /** Those who wait for everything there is. */
  readonly #waiting = new Set<ServerResponse>();
  readonly #snapshot = new SharedAnswer(() => this.#writeSnapshot());
  /** What was told since it was begun, for those who wait. */
  #missed: string[] = [];
  readonly #failures = new LimitedLog('error');
  readonly #source: LiveSource;
  readonly #about: Pick<Snapshot, 'service' | 'version' | 'admin'>;
  /** Each breaker as it was last told of. */
  #told = new Map<string, string>();
  #changedTraces = new Set<string>();
  #stopWatching: (() => void) | undefined;

  constructor(source: LiveSource, about: Pick<Snapshot, 'service' | 'version' | 'admin'>) {
    this.#source = source;
    this.#about = about;
  }

  serve(request: IncomingMessage, response: ServerResponse): void {
    if (this.#size >= MAX_READERS) {
      return sendText(response, 503, `${MAX_READERS} pages are open already\n`, { 'retry-after': '5' });
    }
    response.writeHead(200, {
      ...SECURITY_HEADERS,
      'content-type': 'text/event-stream; charset=utf-8',
      // Proxies would otherwise collect events until there are enough of them.
      'x-accel-buffering': 'no',
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    // A page that lost its connection comes back this soon.
    response.write('retry: 1000\n\n');
    if (this.#size === 0) this.#watch();
    this.#waiting.add(response);
    response.once('close', () => {
      this.#readers.delete(response);
      this.#waiting.delete(response);
      if (this.#size === 0) this.#stopWatching?.();
    });
    this.#snapshot.bytes().then(
      (bytes) => {
        // Gone meanwhile.
        if (!this.#waiting.delete(response)) return;
        response.write(bytes);
        for (const text of this.#missed) response.write(text);
        if (this.#waiting.size === 0) this.#missed = [];
        this.#readers.add(response);
      },
      (error: unknown) => {
        this.#failures.write('The page could not be told of the breakers', error);
        response.destroy();
      },
    );
  }

  get #size(): number {
    return this.#readers.size + this.#waiting.size;
  }

  /** The first event, in pieces: of a thousand breakers and the traces of an outage it has megabytes. */
  *#writeSnapshot(): Pieces {
    this.#missed = [];
    const { registry, panic, transitions, traces, spans } = this.#source;
    const head: Omit<Snapshot, 'breakers' | 'traces'> = {
      now: new Date().toISOString(),
      ...this.#about,
      panic: panic.reason ?? null,
      tracing: spans.watch(),
      transitions: transitions.latest().map(viewTransition),
    };
    // All there are now: what changes while this is written is told after it.
    const breakers = Array.from(registry);
    const latestTraces = traces.traces();
    const writer = new PieceWriter();
    yield writer.add(`event: snapshot\ndata: ${JSON.stringify(head).slice(0, -1)},"breakers":[`);
    yield* writer.addItems(breakers, (breaker) => JSON.stringify(viewBreaker(breaker)));
    yield writer.add('],"traces":[');
    yield* writer.addItems(latestTraces, (trace) => JSON.stringify(viewTrace(trace)));
    yield writer.add(']}\n\n');
    return writer.pieces;
  }

  close(): void {
    this.#stopWatching?.();
    for (const reader of [...this.#readers, ...this.#waiting]) reader.destroy();
    this.#readers.clear();
    this.#waiting.clear();
  }

  #watch(): void {
    const { transitions, traces } = this.#source;
    this.#told = new Map(Array.from(this.#source.registry, (breaker) => told(viewBreaker(breaker))));
    const timer = setInterval(() => this.#tick(), TICK_MS).unref();
    const stops = [
      () => clearInterval(timer),
      transitions.onRecord((record) => this.#tell(event('transition', viewTransition(record)))),
      traces.onChange((traceId) => this.#changedTraces.add(traceId)),
    ];
    this.#stopWatching = () => {
      for (const stop of stops) stop();
      this.#told.clear();
      this.#changedTraces.clear();
      this.#stopWatching = undefined;
    };
  }

  #tick(): void {
    const before = this.#told;
    this.#told = new Map();
    const changed: BreakerView[] = [];
    for (const breaker of this.#source.registry) {
      const view = viewBreaker(breaker);
      const [name, text] = told(view);
      this.#told.set(name, text);
      if (before.get(name) !== text) changed.push(view);
    }
    const removed = [...before.keys()].filter((name) => !this.#told.has(name));
    const panic = this.#source.panic.reason ?? null;
    const tick: Tick = { now: new Date().toISOString(), panic, changed, removed };
    this.#tell(event('tick', tick));

    if (this.#changedTraces.size === 0) return;
    const newest = [...this.#changedTraces].slice(-MAX_TRACES_PER_TICK);
    this.#changedTraces.clear();
    const { traces } = this.#source;
    const present = newest.map((traceId) => traces.get(traceId)).filter((trace) => trace !== undefined);
    this.#tell(event('traces', present.map(viewTrace)));
  }

  #tell(text: string): void {
    if (this.#waiting.size > 0) this.#missed.push(text);
    for (const reader of this.#readers) {
      if (reader.writableLength > MAX_BEHIND_BYTES) reader.destroy();
      else reader.write(text);
    }
  }
}

function told(view: BreakerView): [name: string, text: string] {
  return [view.name, JSON.stringify(view)];
}

function event(name: string, data: unknown): string {
  // JSON has no line ends of its own, so one data line is enough.
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
