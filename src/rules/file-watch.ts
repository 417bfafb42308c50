import { lstatSync, readlinkSync, statSync, watch, type FSWatcher } from 'node:fs';
import { basename, dirname, join, parse, resolve, sep } from 'node:path';
import { setTimeout, clearTimeout, setInterval, clearInterval } from '../breaker/real-time.js';

// Editors and deployments write in several steps: what has changed is read once it has rested for so long.
const REST_MS = 250;
// A file that never rests is left alone, and that is said once.
const RESTLESS_MS = 10_000;
// Where the system cannot tell of changes, we look for them.
const LOOK_EVERY_MS = 5_000;
const MAX_LINKS = 40;

/**
 * Calls back after a file has changed: written to, replaced, or reached through other links than before, as when
 * Kubernetes swaps the `..data` link of a ConfigMap. Never keeps the process alive.
 *
 * What is watched are directories, since a watch on a file stays with the old file when another one takes its name. A
 * directory can be moved away and another take its place as well: each one on the way is watched from the one above.
 */
export class FileWatch {
  readonly #path: string;
  readonly #onChange: () => void;
  readonly #onFailed: (error: unknown) => void;
  readonly #onRestless: () => void;
  #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;
  #seen: string;
  /** As the file was when it was last found changed; read once it is still so. */
  #changed: string | undefined;
  #restlessSince: number | undefined;
  #saidRestless = false;
  #stopped = false;

  /**
   * @param onFailed the system cannot tell of changes: they are looked for from time to time
   * @param onRestless the file changes all the time, and is read when it rests
   */
  constructor(
    path: string,
    onChange: () => void,
    onFailed: (error: unknown) => void,
    onRestless: () => void = () => {},
  ) {
    this.#onRestless = onRestless;
    this.#path = path;
    this.#onChange = onChange;
    this.#onFailed = onFailed;
    this.#seen = fingerprint(path);
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#looking);
    this.#disarm();
  }

  #arm(): void {
    try {
      for (const [directory, names] of placesOnTheWay(this.#path)) {
        const watcher = watch(directory, { persistent: false }, (_event, name) => {
          // Of a directory that was itself moved or deleted, its own name is told.
          if (name === null || names.has(name) || name === basename(directory)) this.#schedule();
        });
        watcher.on('error', () => this.#schedule());
        this.#watchers.push(watcher);
      }
    } catch (error) {
      this.#disarm();
      if (this.#looking !== undefined) return;
      this.#looking = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
      this.#onFailed(error);
    }
  }

  #disarm(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  #schedule(): void {
    // Not put off by each further event: whether it rests is asked at the end.
    if (this.#stopped || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, REST_MS).unref();
  }

  #look(): void {
    // Anew each time: links and directories may be others now. Before looking, so that no change falls between.
    this.#disarm();
    this.#arm();
    const now = fingerprint(this.#path);
    if (now === this.#seen) {
      this.#changed = undefined;
      this.#restlessSince = undefined;
      return;
    }
    if (now !== this.#changed) {
      this.#changed = now;
      const time = performance.now();
      this.#restlessSince ??= time;
      if (time - this.#restlessSince > RESTLESS_MS && !this.#saidRestless) {
        this.#saidRestless = true;
        this.#onRestless();
      }
      return this.#schedule();
    }
    this.#onChange();
    this.#changed = undefined;
    this.#restlessSince = undefined;
    this.#saidRestless = false;
    this.#seen = now;
    // Written to while it was read.
    if (fingerprint(this.#path) !== now) this.#schedule();
  }
}

/** What is different after each change. */
function fingerprint(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch {
    return 'missing';
  }
}

/** The directories where something can happen to a path, with the names that matter there: every link on its way, and its end. */
function placesOnTheWay(path: string): Map<string, Set<string>> {
  const places = new Map<string, Set<string>>();
  const add = (directory: string, name: string) => {
    places.set(directory, (places.get(directory) ?? new Set()).add(name));
  };
  let rest = resolve(path);
  for (let links = 0; links < MAX_LINKS; links++) {
    const link = firstLink(rest, add);
    if (link === undefined) break;
    add(dirname(link.path), link.name);
    if (link.target === undefined) return places;
    rest = resolve(link.target, link.rest);
  }
  add(dirname(rest), rest.slice(dirname(rest).length).replace(sep, ''));
  return places;
}

/**
 * The first part of a path that is a link, or that does not exist.
 *
 * @param onDirectory is told of the directories before it, but for those at the root, which nobody replaces
 */
function firstLink(
  path: string,
  onDirectory: (parent: string, name: string) => void,
): { path: string; name: string; target: string | undefined; rest: string } | undefined {
  const { root } = parse(path);
  const names = path.slice(root.length).split(sep);
  let current = root;
  for (const [index, name] of names.entries()) {
    const directory = current;
    current = join(current, name);
    const rest = names.slice(index + 1).join(sep);
    const stats = lstatSync(current, { throwIfNoEntry: false });
    if (stats === undefined) return { path: current, name, target: undefined, rest };
    if (stats.isSymbolicLink()) return { path: current, name, target: resolve(directory, readlinkSync(current)), rest };
    if (stats.isDirectory() && directory !== root) onDirectory(directory, name);
  }
  return undefined;
}
