import { readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';

export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
};

/** The files of the page, as the build has put them. Each is read when it is first asked for. */
export class PageFiles {
  readonly #folder: string;
  readonly #read = new Map<string, PageFile>();
  #names: ReadonlySet<string> | undefined;

  constructor(folder = join(dirname(require.resolve('otel-breaker/package.json')), 'dist', 'page')) {
    this.#folder = folder;
  }

  /** @returns `undefined` where the build has made no file of that name; a name is never taken for a path */
  get(name: string): PageFile | undefined {
    this.#names ??= new Set(readdirSync(this.#folder));
    if (!this.#names.has(name)) return undefined;
    const known = this.#read.get(name);
    if (known !== undefined) return known;
    const type = TYPES[extname(name)] ?? 'application/octet-stream';
    const file = { type, body: readFileSync(join(this.#folder, name)) };
    this.#read.set(name, file);
    return file;
  }
}
