import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from '../support/child.js';
import { temporaryDirectory } from '../support/files.js';
import type { Document } from './documents.js';

/** The role of a fenced block that is a file of its page: its name. */
const FILE_NAME = /^[\w./-]+\.\w+$/;

export function isFileName(role: string): boolean {
  return FILE_NAME.test(role);
}

/**
 * The directory of a reader who has put every named file of a page into it, with this package and what else the page
 * imports installed. It goes with `removeTemporaryDirectories`.
 */
export function pageDirectory(document: Document): string {
  const directory = temporaryDirectory();
  const modules = join(directory, 'node_modules');
  mkdirSync(modules);
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  symlinkSync(ROOT, join(modules, 'otel-breaker'));
  for (const { role, content } of document.fences) {
    if (!isFileName(role)) continue;
    mkdirSync(dirname(join(directory, role)), { recursive: true });
    writeFileSync(join(directory, role), content);
  }
  return directory;
}
