import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setImmediate } from '../breaker/real-time.js';

// So long at most does the event loop stand for several files; a single one takes what it takes, and the largest ones ten
// milliseconds more.
const TURN_MS = 2;

const REQUIRES = /\brequire\((['"])([^'"]+)\1\)/g;

/** Lets the event loop turn between two pieces of work that would hold it up together. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Loads a package that is large enough to be noticed, file by file, each before those that need it, and lets the event
 * loop turn in between. What is found to be required in vain, or cannot be loaded alone, is left to the package itself.
 */
export async function loadInPieces(packageName: string): Promise<void> {
  let end = performance.now() + TURN_MS;
  for (const file of inOrder(packageName)) {
    if (performance.now() >= end) {
      await nextTurn();
      end = performance.now() + TURN_MS;
    }
    if (file === undefined) continue;
    try {
      require(file);
    } catch {
      // The package itself will say what is wrong.
    }
  }
}

/**
 * Files of a package and of all that it requires, dependencies first; `undefined` for each file that has been read. Those
 * that need each other are left out: they are loaded in the order in which the package itself asks for them.
 */
function* inOrder(packageName: string): Generator<string | undefined> {
  const seen = new Set<string>();
  const inCycle = new Set<string>();
  const path: string[] = [];

  function* visit(from: NodeJS.Require, request: string): Generator<string | undefined> {
    const file = resolve(from, request);
    if (file === undefined || require.cache[file] !== undefined) return;
    if (seen.has(file)) {
      const start = path.indexOf(file);
      if (start >= 0) for (const one of path.slice(start)) inCycle.add(one);
      return;
    }
    seen.add(file);
    const requests = Array.from(read(file).matchAll(REQUIRES), ([, , name]) => name!);
    yield undefined;
    const own = createRequire(file);
    path.push(file);
    for (const name of requests) yield* visit(own, name);
    path.pop();
    if (!inCycle.has(file)) yield file;
  }

  yield* visit(require, packageName);
}

function resolve(from: NodeJS.Require, request: string): string | undefined {
  try {
    const file = from.resolve(request);
    // Modules of Node have no path, and other kinds of files no requires.
    return /\.c?js$/.test(file) ? file : undefined;
  } catch {
    return undefined;
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
