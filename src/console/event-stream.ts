import type { IncomingMessage, ServerResponse } from 'node:http';
import type { History } from './history/history.js';
import { LimitedLog } from './limited-log.js';
import { SECURITY_HEADERS, sendText } from './respond.js';
import { PieceWriter, SharedAnswer, type Pieces } from './shared-answer.js';
import type { Snapshot, Tick } from './api.js';
import { Overview, type Workers } from './overview.js';
import type { ThreadConsole } from './thread-console.js';
import { setInterval, clearInterval, setTimeout, clearTimeout } from '../breaker/real-time.js';

const TICK_MS = 1_000;
// A change of a circuit is told at once; a hundred of them at once are told together, and while one comes after the other, twice
// a second: the page draws itself anew each time.
const AT_ONCE_MS = 50;
const NOT_AGAIN_WITHIN_MS = 450;
const MAX_READERS = 20;
// A reader that is so far behind has gone, or will do better to begin again.
const MAX_BEHIND_BYTES = 4 * 1024 * 1024;

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
  readonly #overview: Overview;
  readonly #transitions: History['transitions'];
  readonly #about: Pick<Snapshot, 'service' | 'version' | 'admin'>;
  #stopWatching: (() => void) | undefined;

  constructor(
    own: ThreadConsole,
    workers: Workers,
    transitions: History['transitions'],
    about: Pick<Snapshot, 'service' | 'version' | 'admin'>,
  ) {
    this.#overview = new Overview(own, workers, (tick: Tick) => this.#tell(event('tick', tick)));
    this.#transitions = transitions;
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
    this.#overview.refreshOwn();
    this.#missed = [];
    // All there is now: what changes while this is written is told after it.
    const { changed, traces, ...head } = this.#overview.snapshot(this.#about);
    const writer = new PieceWriter();
    yield writer.add(`event: snapshot\ndata: ${JSON.stringify(head).slice(0, -1)},"changed":[`);
    yield* writer.addItems(changed, (row) => JSON.stringify(row));
    yield writer.add('],"traces":[');
    yield* writer.addItems(traces, (trace) => JSON.stringify(trace));
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
    let soon: ReturnType<typeof setTimeout> | undefined;
    let toldAt = -Infinity;
    const timer = setInterval(() => void this.#overview.refresh(), TICK_MS).unref();
    const stopListening = this.#transitions.onRecord(() => {
      if (soon !== undefined) return;
      const wait = Math.max(AT_ONCE_MS, toldAt + NOT_AGAIN_WITHIN_MS - performance.now());
      soon = setTimeout(() => {
        soon = undefined;
        toldAt = performance.now();
        this.#overview.refreshOwn();
      }, wait).unref();
    });
    void this.#overview.refresh();
    this.#stopWatching = () => {
      clearInterval(timer);
      clearTimeout(soon);
      stopListening();
      this.#overview.forget();
      this.#stopWatching = undefined;
    };
  }

  #tell(text: string): void {
    if (this.#waiting.size > 0) this.#missed.push(text);
    for (const reader of this.#readers) {
      if (reader.writableLength > MAX_BEHIND_BYTES) reader.destroy();
      else reader.write(text);
    }
  }
}

function event(name: string, data: unknown): string {
  // JSON has no line ends of its own, so one data line is enough.
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
