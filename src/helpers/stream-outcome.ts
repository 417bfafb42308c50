import { errorMonitor } from 'node:events';
import type { Permit } from '../breaker/permit.js';

// Nobody can be asked what became of a result that was dropped unread; its permit must not stay in flight for ever.
const dropped = new FinalizationRegistry<Permit>((permit) => permit.ignore());

/** A result that nobody reads to its end gives its permit back, with no verdict, when it is collected. */
export function ignoreIfDropped(result: object, permit: Permit): void {
  dropped.register(result, permit);
}

/** Something whose end says whether the call was good: what `for await` takes, Node's streams and the web's. */
export function isStream(value: unknown): value is object {
  return value !== null && typeof value === 'object' && typeof property(value, Symbol.asyncIterator) === 'function';
}

/**
 * Settles a call at the end of the stream it led to: success at the end, failure where it breaks, no verdict where the
 * reader stops early. The stream stays the object it is, so that everything else about it goes on working.
 */
export function settleAtEnd(permit: Permit, stream: object): void {
  if (permit.settled) return;
  try {
    if (typeof property(stream, 'on') === 'function') watchEmitter(permit, stream as Emitter);
    else if (stream instanceof ReadableStream) watchWebStream(permit, stream);
    if (!isNodeStream(stream)) watchIterable(permit, stream);
    ignoreIfDropped(stream, permit);
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
function watchEmitter(permit: Permit, stream: Emitter): void {
  const settle = () => {
    if (stream.aborted === true) permit.ignore();
    else if (!stream.errored) permit.success();
    else if (stream.errored instanceof Error) permit.settleByError(stream.errored);
    else permit.failure(new Error('The stream ended with an error'));
  };
  // A listener for `error` would make an error handled that nobody handles.
  stream.on(errorMonitor, (error) => permit.settleByError(error));
  stream.on('end', settle);
  stream.on('close', () => {
    if (stream.errored) settle();
    else permit.ignore();
  });
}

function isNodeStream(stream: object): boolean {
  return typeof property(stream, 'on') === 'function' && typeof property(stream, 'pipe') === 'function';
}

function watchWebStream(permit: Permit, stream: ReadableStream): void {
  const getReader = stream.getReader.bind(stream) as (...args: unknown[]) => object;
  replace(stream, 'getReader', (...args: unknown[]) => {
    const reader = getReader(...args);
    watchMethod(
      reader,
      'read',
      (result) => {
        if ((result as { done: boolean }).done) permit.success();
      },
      permit,
    );
    watchMethod(reader, 'cancel', () => permit.ignore(), permit);
    return reader;
  });
  // From here on the stream is read where nobody can look; that it came is all that can be said.
  for (const name of ['tee', 'pipeTo', 'pipeThrough'] as const) {
    const original = (stream[name] as (...args: unknown[]) => unknown).bind(stream);
    replace(stream, name, (...args: unknown[]) => {
      permit.success();
      return original(...args);
    });
  }
}

function watchIterable(permit: Permit, stream: object): void {
  if (typeof property(stream, 'next') === 'function') return watchIterator(permit, stream);
  for (const key of [Symbol.asyncIterator, 'values'] as const) {
    const original = property(stream, key);
    if (typeof original !== 'function') continue;
    replace(stream, key, (...args: unknown[]) => {
      const iterator = Reflect.apply(original, stream, args) as object;
      watchIterator(permit, iterator);
      return iterator;
    });
  }
}

function watchIterator(permit: Permit, iterator: object): void {
  watchMethod(
    iterator,
    'next',
    (result) => {
      if ((result as IteratorResult<unknown>).done === true) permit.success();
    },
    permit,
  );
  for (const name of ['return', 'throw']) watchMethod(iterator, name, () => permit.ignore(), permit);
}

/** Looks at what a method's promise brings, on its way to the caller. */
function watchMethod(object: object, name: string, look: (result: unknown) => void, permit: Permit): void {
  const original = property(object, name);
  if (typeof original !== 'function') return;
  replace(object, name, (...args: unknown[]) =>
    Promise.resolve(Reflect.apply(original, object, args) as unknown).then(
      (result) => {
        look(result);
        return result;
      },
      (error: unknown) => {
        permit.settleByError(error);
        throw error;
      },
    ),
  );
}

function property(object: object, key: PropertyKey): unknown {
  return Reflect.get(object, key);
}

function replace(object: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(object, key, { value, configurable: true, writable: true });
}
