import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

// `npm-cli.js`, `npx`, `pnpm.cjs`, `yarn-4.1.0.cjs`, `corepack.js` …
const NAMES = /^(?:(?:npm|npx)(?:-cli)?|pnpm|pnpx|yarn|yarnpkg|corepack)(?:-\d[\w.-]*?)?(\.[cm]?js)?$/;
// Where their packages keep such a file; a program of somebody's own may have the same name.
const FOLDERS: ReadonlySet<string> = new Set(['bin', 'dist', 'lib', 'releases']);

/**
 * Whether a process is not the service but what starts it: a package manager, or the command of this package. Under
 * `NODE_OPTIONS`, `npm start` would take the port before the service that it starts, and its own downloads would have
 * breakers.
 *
 * @param program path of the main file
 */
export function isPackageManager(program: string | undefined): boolean {
  if (program === undefined) return false;
  let path = program;
  try {
    // `/usr/bin/npm` is a link.
    path = realpathSync(program);
  } catch {
    // The main file may be missing, or found by another name.
  }
  if (path === join(__dirname, 'cli.js')) return true;
  const match = NAMES.exec(basename(path));
  return match !== null && (match[1] === undefined || FOLDERS.has(basename(dirname(path))));
}
