import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from './child.js';

const FOLDER = join(ROOT, 'test/lines/node22');
const INSTALLED = join(FOLDER, 'node_modules/.package-lock.json');

/** The Nodes of later lines, and undici 8, which runs on them only. */
export const LATER_LINES = {
  undici8: join(FOLDER, 'node_modules/undici'),
  nodes: {
    'Node 22': join(FOLDER, 'node_modules/node22/bin/node'),
    'Node 24': join(FOLDER, 'node_modules/node24/bin/node'),
  },
} as const;

/** Installs them where they are not. They are binaries for Linux on x64, where these tests run. */
export async function installLaterLines(): Promise<void> {
  if (existsSync(INSTALLED)) return;
  try {
    await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund'], { cwd: FOLDER });
  } catch (error) {
    throw new Error('Cannot install later lines of Node. Try: cd test/lines/node22 && npm ci', { cause: error });
  }
}
