import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../support/child.js';

export interface Tarball {
  readonly path: string;
  /** Paths of all files in it. */
  readonly files: readonly string[];
}

/** The package as it would be published, of the build that is there. */
export function pack(folder: string): Tarball {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const [packed] = JSON.parse(execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8' })) as {
    filename: string;
    files: { path: string }[];
  }[];
  return { path: join(folder, packed!.filename), files: packed!.files.map(({ path }) => path) };
}

/** An empty folder outside of this tree, where nothing is found that was not put there. */
export function emptyFolder(): string {
  return mkdtempSync(join(tmpdir(), 'otel-breaker-package-'));
}
