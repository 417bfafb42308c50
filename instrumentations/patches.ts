import { channel, type Channel, type ChannelListener } from 'node:diagnostics_channel';
import { closeSync, openSync, readSync } from 'node:fs';
import { sep } from 'node:path';
import Module = require('node:module');
import util = require('node:util');

import { harmless } from './harmless.js';
import { setTimeout, clearTimeout } from '../src/breaker/real-time.js';

// ES modules are there by then, and have mostly not yet called anybody.
const LOOKS_MS: readonly number[] = [0, 20, 100, 500];

// Imports stand at the top, and a bundle is megabytes.
const START_OF_FILE = 16_384;

const WATCHING_FAILED = 'Watching for client libraries failed';

type AnyFunction = (this: unknown, ...args: never[]) => unknown;

/**
 * Everything an instrumentation has changed in a client, so that it can be undone.
 *
 * Replacements are plain assignments: OpenTelemetry's own `_wrap` removes any wrapper it finds, so neither may we be
 * wrapped by it nor use it.
 */
export class Patches {
  readonly #undo: (() => void)[] = [];
  // What is changed holds what takes that back, so that a copy of a client that its application lets go of is not kept by us:
  // who loads its files anew with every change would have each of them in memory.
  readonly #undoOf = new WeakMap<object, (() => void)[]>();
  readonly #changed: WeakRef<object>[] = [];
  readonly #held: object[] = [];

  /** @param onReplaced hears of each method that was replaced: the client is there, and was recognised */
  constructor(private readonly onReplaced: () => void = () => {}) {}

  /** Replaces a method; the replacement takes the name, the length and the properties of the original. */
  replace<Owner extends object, Key extends keyof Owner>(
    owner: Owner,
    key: Key,
    make: (original: Owner[Key]) => Owner[Key],
  ): void {
    const own = Object.getOwnPropertyDescriptor(owner, key);
    const original = owner[key];
    const replacement = make(original);
    copyShape(replacement as AnyFunction, original as AnyFunction);
    // An inherited method becomes an own one, hidden as methods of classes are.
    Object.defineProperty(owner, key, {
      configurable: true,
      writable: true,
      enumerable: own?.enumerable ?? false,
      value: replacement,
    });
    this.onReplaced();
    this.#onUndoOf(owner, () => {
      // Wrapped by somebody else meanwhile: taking it out from under them would break them. Ours stays and steps aside.
      if (owner[key] !== replacement) return;
      if (own === undefined) delete owner[key];
      else Object.defineProperty(owner, key, own);
    });
  }

  subscribe(name: string, listener: ChannelListener): void {
    const subscribed: Channel = channel(name);
    subscribed.subscribe(listener);
    this.onUndo(() => subscribed.unsubscribe(listener));
  }

  /**
   * Calls back with the exports of each module, loaded already or later, whose file path ends as given: every copy of
   * a package, required or imported, nested or not. May call back several times with the same exports.
   *
   * @param ending such as `/ioredis/built/Redis.js`; with slashes on every platform
   */
  onModule(ending: string, callback: (exports: unknown) => void): void {
    for (const filename of Object.keys(require.cache)) {
      if (!endsWith(filename, ending)) continue;
      const module = require.cache[filename];
      if (module !== undefined) callback(module.exports);
    }
    this.onNextLoad(ending, callback);
  }

  /** As `onModule`, but only for what is loaded from now on, again included. */
  onNextLoad(ending: string, callback: (exports: unknown) => void): void {
    const hook: LoadHook = { ending, names: namesOf(ending), callback };
    loadHooks.add(hook);
    hookLoad();
    this.onUndo(() => loadHooks.delete(hook));
  }

  /**
   * Calls back with a module of Node's own once it is loaded: by a `require`, by an ES module that the program begins with,
   * or, where nobody could see that, a moment after the start. Loading one for nothing costs milliseconds and megabytes.
   *
   * @param name without `node:`; the callback may be called several times
   */
  onBuiltin(name: string, callback: (exports: unknown) => void): void {
    const take = harmless(WATCHING_FAILED, () => callback(require(`node:${name}`)));
    if (isLoaded(name) || isNamedByMain(name)) return take();
    const hook: LoadHook = { ending: name, names: [name], callback };
    loadHooks.add(hook);
    hookLoad();
    const look = () => {
      if (loadHooks.has(hook) && isLoaded(name)) take();
    };
    // All of them now: one that is made later would be made while the application runs, and could be seen.
    const timers = LOOKS_MS.map((ms) => setTimeout(look, ms).unref());
    this.onUndo(() => {
      loadHooks.delete(hook);
      for (const timer of timers) clearTimeout(timer);
    });
  }

  /**
   * Calls back while a client asks `util.format` for a text. No hook of ours sees ES modules, so one that is made of these is
   * met by what it asks of Node.
   *
   * @param begin what its arguments begin with
   */
  onFormat(begin: readonly string[], callback: () => void): void {
    const tell = harmless(WATCHING_FAILED, callback);
    const watch = new Patches();
    watch.replace(
      util,
      'format',
      (format) =>
        function (this: unknown, first: unknown) {
          /* eslint-disable prefer-rest-params -- Loggers ask for every line: no array is made to hand it on. */
          if (first === begin[0] && begin.every((part, at) => arguments[at] === part)) tell();
          return Reflect.apply(format, this, arguments) as string;
          /* eslint-enable prefer-rest-params */
        },
    );
    this.onUndo(() => watch.undo());
  }

  /** Keeps what is changed there as long as the changes last, where nobody else may. */
  hold(changed: object): void {
    this.#held.push(changed);
  }

  onUndo(undo: () => void): void {
    this.#undo.push(undo);
  }

  /** Takes everything back, the last change first, and then does what else is to be done. */
  undo(): void {
    for (const changed of this.#changed.splice(0).reverse()) {
      const owner = changed.deref();
      if (owner === undefined) continue;
      const undos = this.#undoOf.get(owner)!;
      this.#undoOf.delete(owner);
      for (const undo of undos.reverse()) undo();
    }
    for (const undo of this.#undo.splice(0).reverse()) undo();
    this.#held.length = 0;
  }

  /** As `onUndo`, for what is to be done of an object that is still there by then. */
  #onUndoOf(owner: object, undo: () => void): void {
    const undos = this.#undoOf.get(owner);
    if (undos !== undefined) {
      undos.push(undo);
      return;
    }
    this.#undoOf.set(owner, [undo]);
    this.#changed.push(new WeakRef(owner));
  }
}

/** Whether a module of Node's own has been loaded, by whomever. */
function isLoaded(name: string): boolean {
  const { moduleLoadList } = process as { readonly moduleLoadList?: readonly string[] };
  return moduleLoadList?.includes(`NativeModule ${name}`) ?? false;
}

/** Whether the file that the program begins with names it. What an ES module imports does not pass where we could see it. */
function isNamedByMain(name: string): boolean {
  try {
    const file = openSync(process.argv[1]!, 'r');
    try {
      const start = Buffer.alloc(START_OF_FILE);
      const length = readSync(file, start);
      return new RegExp(`['"](node:)?${name}['"]`).test(start.toString('latin1', 0, length));
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
}

// What functions have of themselves.
const OWN_TO_EACH: ReadonlySet<PropertyKey> = new Set(['prototype', 'arguments', 'caller']);

/** Name, length, and what else has been put on a function, unless it is there already. */
export function copyShape(replacement: AnyFunction, original: AnyFunction): void {
  for (const key of Reflect.ownKeys(original)) {
    const isTheirs = key === 'name' || key === 'length' || !Object.hasOwn(replacement, key);
    if (!isTheirs || OWN_TO_EACH.has(key)) continue;
    Object.defineProperty(replacement, key, Object.getOwnPropertyDescriptor(original, key)!);
  }
}

interface LoadHook {
  readonly ending: string;
  /** How a request for the file may end. */
  readonly names: readonly string[];
  readonly callback: (exports: unknown) => void;
}

type Load = (request: string, parent: unknown, isMain: boolean) => unknown;
interface ModuleInternals {
  _load: Load;
  _resolveFilename(request: string, parent: unknown, isMain: boolean): string;
}

const loadHooks = new Set<LoadHook>();
let hooked = false;

/**
 * Hooks `Module._load`, once for good: every CommonJS file passes through it, also one that an ESM `import` leads to.
 * With no hooks left it costs one look at an empty set.
 */
function hookLoad(): void {
  if (hooked) return;
  hooked = true;
  const internals = Module as unknown as ModuleInternals;
  const load = internals._load;
  internals._load = function (this: unknown, request, parent, isMain) {
    const exports = Reflect.apply(load, this, [request, parent, isMain]);
    if (loadHooks.size > 0) notice(internals, request, parent, isMain, exports);
    return exports;
  };
}

const notice = harmless(
  WATCHING_FAILED,
  (internals: ModuleInternals, request: string, parent: unknown, isMain: boolean, exports: unknown) => {
    // Resolving again costs a look into Node's cache, so only requests that can mean one of the files get there.
    const relevant = [...loadHooks].filter((hook) => mayMean(request, hook));
    if (relevant.length > 0) tellHooks(relevant, internals, request, parent, isMain, exports);
  },
);

function mayMean(request: string, { names }: LoadHook): boolean {
  return names.some((name) => request.endsWith(name));
}

function tellHooks(
  hooks: readonly LoadHook[],
  internals: ModuleInternals,
  request: string,
  parent: unknown,
  isMain: boolean,
  exports: unknown,
): void {
  let filename: string;
  try {
    filename = internals._resolveFilename(request, parent, isMain);
  } catch {
    return;
  }
  for (const hook of hooks) if (endsWith(filename, hook.ending)) hook.callback(exports);
}

function namesOf(path: string): string[] {
  const [folder = '', file = ''] = path.split('/').slice(-2);
  const basename = file.replace(/\.c?js$/, '');
  if (basename !== 'index') return [file, basename];
  // A package or a folder is asked for by its own name, and its index file comes.
  const packageName = /^\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? folder;
  return [file, basename, folder, packageName];
}

function endsWith(filename: string, ending: string): boolean {
  return (sep === '/' ? filename : filename.replaceAll(sep, '/')).endsWith(ending);
}
