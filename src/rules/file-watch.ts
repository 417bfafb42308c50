import { lstatSync, readlinkSync, statSync, watch, type FSWatcher } from 'node:fs';
import { dirname, join, parse, resolve, sep } from 'node:path';

// Captured at load: an application's fake timers must not hold a reload back.
const { setTimeout, clearTimeout } = globalThis;

// Editors and deployments write in several steps.
const SETTLE_MS = 50;
const MAX_LINKS = 40;

/**
 * Calls back after a file has changed: written to, replaced, or reached through other links than before, as when
 * Kubernetes swaps the `..data` link of a ConfigMap. Never keeps the process alive.
 *
 * What is watched are directories, since a watch on a file stays with the old file when another one takes its name.
 */
export class FileWatch {
  readonly #path: string;
  readonly #onChange: () => void;
  readonly #onFailed: (error: unknown) => void;
  #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #seen: string;
  #stopped = false;

  constructor(path: string, onChange: () => void, onFailed: (error: unknown) => void) {
    this.#path = path;
    this.#onChange = onChange;
    this.#onFailed = onFailed;
    this.#seen = fingerprint(path);
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#disarm();
  }

  #arm(): void {
    try {
      for (const [directory, names] of placesOnTheWay(this.#path)) {
        const watcher = watch(directory, { persistent: false }, (_event, name) => {
          if (name === null || names.has(name)) this.#schedule();
        });
        watcher.on('error', () => this.#schedule());
        this.#watchers.push(watcher);
      }
    } catch (error) {
      this.#disarm();
      this.#onFailed(error);
    }
  }

  #disarm(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  #schedule(): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), SETTLE_MS).unref();
  }

  #look(): void {
    // Anew each time: links and directories may be others now. Before looking, so that no change falls between.
    this.#disarm();
    this.#arm();
    const seen = fingerprint(this.#path);
    if (seen === this.#seen) return;
    this.#seen = seen;
    this.#onChange();
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
    const link = firstLink(rest);
    if (link === undefined) break;
    add(dirname(link.path), link.name);
    if (link.target === undefined) return places;
    rest = resolve(link.target, link.rest);
  }
  add(dirname(rest), rest.slice(dirname(rest).length).replace(sep, ''));
  return places;
}

/** The first part of a path that is a link, or that does not exist. */
function firstLink(path: string): { path: string; name: string; target: string | undefined; rest: string } | undefined {
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
  }
  return undefined;
}
