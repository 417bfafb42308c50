import { errorMonitor } from 'node:events';
import type { Permit } from '../breaker/permit.js';
import { read } from '../breaker/values.js';
import { isAbort } from './timeouts.js';

// Nobody can be asked what became of a result that was dropped unread; its permit must not stay in flight for ever.
const droppedUnread = new FinalizationRegistry<Permit>((permit) => permit.success());
const droppedUnasked = new FinalizationRegistry<Permit>((permit) => permit.ignore());

/** An answer that nobody reads to its end was a good one: its call is a success when it is collected. */
export function succeedIfDropped(answer: object, permit: Permit): void {
  droppedUnread.register(answer, permit);
}

/** A promise that nobody looks at, so that it is not known how it went, gives its permit back when it is collected. */
export function ignoreIfDropped(promise: object, permit: Permit): void {
  droppedUnasked.register(promise, permit);
}

/** Something whose end says whether the call was good: what `for await` takes, Node's streams and the web's. */
export function isStream(value: unknown): value is object {
  return value !== null && typeof value === 'object' && typeof read(value, Symbol.asyncIterator) === 'function';
}

/** A call whose answer is a stream, as its reader lives through it. */
export class Reading {
  /** @param hasBegun whether the target has answered; else the first part of the stream says so */
  constructor(
    readonly permit: Permit,
    public hasBegun: boolean,
  ) {
    if (hasBegun) permit.answered();
  }

  /** A part of the stream has come. */
  begin(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    this.permit.answered();
  }

  end(): void {
    this.permit.success();
  }

  /** Its reader stops: a success once the target has answered. */
  leave(cause?: unknown): void {
    if (this.hasBegun) this.permit.success();
    else this.permit.abandon(cause);
  }

  fail(error: unknown): void {
    if (this.hasBegun && isAbort(error)) this.permit.success();
    else this.permit.settleByError(error);
  }
}

/** As `settleAtEnd`, for a result that may be a stream and has done nothing yet. @returns whether it is one */
export function settleIfStream(permit: Permit, result: object): boolean {
  if (!isStream(result)) return false;
  settleAtEnd(permit, result, false);
  return true;
}

/**
 * Settles a call at the end of the stream it led to: success at the end and where its reader stops early, failure where it
 * breaks. The stream stays the object it is, so that everything else about it goes on working.
 *
 * @param hasBegun whether the target has answered by now
 */
export function settleAtEnd(permit: Permit, stream: object, hasBegun: boolean): void {
  if (permit.settled) return;
  try {
    const reading = new Reading(permit, hasBegun);
    if (typeof read(stream, 'on') === 'function') watchEmitter(reading, stream as Emitter);
    else if (stream instanceof ReadableStream) watchWebStream(reading, stream);
    if (!isNodeStream(stream)) watchIterable(reading, stream);
    (hasBegun ? succeedIfDropped : ignoreIfDropped)(stream, permit);
  } catch {
    // Frozen, or a proxy that refuses: we cannot look, and say nothing of what we have not seen.
    permit.ignore();
  }
}

interface Emitter {
  readonly errored?: unknown;
  readonly aborted?: unknown;
  on(event: string | symbol, listener: (argument?: unknown) => void): unknown;
}

/** Node's streams, and those of SDKs that tell their news by events, such as `MessageStream` of @anthropic-ai/sdk. */
function watchEmitter(reading: Reading, stream: Emitter): void {
  const settle = () => {
    if (stream.aborted === true) reading.leave();
    else if (!stream.errored) reading.end();
    else if (stream.errored instanceof Error) reading.fail(stream.errored);
    else reading.fail(new Error('The stream ended with an error'));
  };
  // Of the SDK's stream; one that listens for `data` would set a stream of Node flowing.
  stream.on('streamEvent', () => reading.begin());
  // A listener for `error` would make an error handled that nobody handles.
  stream.on(errorMonitor, (error) => reading.fail(error));
  stream.on('end', settle);
  stream.on('close', () => {
    if (stream.errored) settle();
    else reading.leave();
  });
}

function isNodeStream(stream: object): boolean {
  return typeof read(stream, 'on') === 'function' && typeof read(stream, 'pipe') === 'function';
}

function watchWebStream(reading: Reading, stream: ReadableStream): void {
  const getReader = stream.getReader.bind(stream) as (...args: unknown[]) => object;
  replace(stream, 'getReader', (...args: unknown[]) => {
    const reader = getReader(...args);
    watchMethod(reader, 'read', reading, (result) => noteResult(reading, result));
    watchMethod(reader, 'cancel', reading, () => reading.leave());
    return reader;
  });
  // From here on the stream is read where nobody can look; that it came is all that can be said.
  for (const name of ['tee', 'pipeTo', 'pipeThrough'] as const) {
    const original = (stream[name] as (...args: unknown[]) => unknown).bind(stream);
    replace(stream, name, (...args: unknown[]) => {
      reading.end();
      return original(...args);
    });
  }
  watchMethod(stream, 'cancel', reading, () => reading.leave());
}

function watchIterable(reading: Reading, stream: object): void {
  if (typeof read(stream, 'next') === 'function') return watchIterator(reading, stream);
  for (const key of [Symbol.asyncIterator, 'values'] as const) {
    const original = read(stream, key);
    if (typeof original !== 'function') continue;
    replace(stream, key, (...args: unknown[]) => {
      const iterator = Reflect.apply(original, stream, args) as object;
      watchIterator(reading, iterator);
      return iterator;
    });
  }
}

function watchIterator(reading: Reading, iterator: object): void {
  watchMethod(iterator, 'next', reading, (result) => noteResult(reading, result));
  for (const name of ['return', 'throw']) watchMethod(iterator, name, reading, () => reading.leave());
}

function noteResult(reading: Reading, result: unknown): void {
  if ((result as IteratorResult<unknown>).done === true) reading.end();
  else reading.begin();
}

/** Looks at what a method's promise brings, on its way to the caller. */
function watchMethod(object: object, name: string, reading: Reading, look: (result: unknown) => void): void {
  const original = read(object, name);
  if (typeof original !== 'function') return;
  replace(object, name, (...args: unknown[]) =>
    Promise.resolve(Reflect.apply(original, object, args) as unknown).then(
      (result) => {
        look(result);
        return result;
      },
      (error: unknown) => {
        reading.fail(error);
        throw error;
      },
    ),
  );
}

function replace(object: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(object, key, { value, configurable: true, writable: true });
}
