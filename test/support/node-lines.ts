import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from './child.js';

const LATER = join(ROOT, 'test/lines/node22/node_modules');
const PLATFORMS = join(ROOT, 'test/lines/platforms/node_modules');

/** The Nodes of later lines, and undici 8, which runs on them only. */
export const LATER_LINES = {
  undici8: join(LATER, 'undici'),
  nodes: {
    'Node 22': join(LATER, 'node22/bin/node'),
    'Node 24': join(LATER, 'node24/bin/node'),
  },
} as const;

/** The oldest Node and the oldest pg that are supported, and the last Node of their line. */
export const OLDEST = {
  pg: join(PLATFORMS, 'pg'),
  nodes: {
    'Node 20.6': join(PLATFORMS, 'node20-oldest/bin/node'),
    'Node 20': join(PLATFORMS, 'node20/bin/node'),
  },
} as const;

/** Installs them where they are not. They are binaries for Linux on x64, where these tests run. */
export const installLaterLines = (): Promise<void> => install('test/lines/node22');
export const installPlatforms = (): Promise<void> => install('test/lines/platforms');

async function install(folder: string): Promise<void> {
  const cwd = join(ROOT, folder);
  if (existsSync(join(cwd, 'node_modules/.package-lock.json'))) return;
  try {
    await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund'], { cwd });
  } catch (error) {
    throw new Error(`Cannot install what these tests run on. Try: cd ${folder} && npm ci`, { cause: error });
  }
}
