import { execFile } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from './child.js';

const NODE22 = 'test/lines/node22';
const OTEL3 = 'test/lines/otel3';
const LATER = join(ROOT, NODE22, 'node_modules');
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
export const installLaterLines = (): Promise<void> => install(NODE22);
export const installPlatforms = (): Promise<void> => install('test/lines/platforms');

/** A Node and the packages of OpenTelemetry that go with it. */
export interface OtelLine {
  readonly name: string;
  readonly node: string;
  /** Where processes run that use these packages, ours among them. */
  readonly cwd: string;
  /** Where the fixtures of the coexistence matrix are, beside these packages: ES modules look for theirs from there. */
  readonly fixtures: string;
}

const FIXTURES = join(ROOT, 'test/fixtures/coexistence/matrix');
const otel3 = (name: string, node: string): OtelLine => ({
  name,
  node,
  cwd: join(ROOT, OTEL3),
  fixtures: join(ROOT, OTEL3, 'node_modules/matrix'),
});

/** The line of this package's own development dependencies, and the next. */
export const OTEL_LINES: readonly OtelLine[] = [
  { name: 'SDK 2', node: process.execPath, cwd: ROOT, fixtures: FIXTURES },
  otel3('SDK 3, Node 22', LATER_LINES.nodes['Node 22']),
  otel3('SDK 3, Node 24', LATER_LINES.nodes['Node 24']),
];

/** Installs the later line where it is not, and puts the build of this package into it as an application would have it. */
export async function installOtelLines(): Promise<void> {
  await Promise.all([installLaterLines(), install(OTEL3)]);
  const ours = join(ROOT, OTEL3, 'node_modules/otel-breaker');
  const [, later] = OTEL_LINES;
  await Promise.all([ours, later!.fixtures].map((folder) => rm(folder, { recursive: true, force: true })));
  // Copies, not links: Node would follow a link and find the packages of this line.
  await cp(join(ROOT, 'dist'), join(ours, 'dist'), { recursive: true });
  await cp(join(ROOT, 'package.json'), join(ours, 'package.json'));
  await cp(FIXTURES, later!.fixtures, { recursive: true });
}

/** Installs all of the above where they are not: before tests that run at the same time would each do it. */
export async function installLines(): Promise<void> {
  await Promise.all([NODE22, 'test/lines/platforms', OTEL3].map(install));
}

async function install(folder: string): Promise<void> {
  const cwd = join(ROOT, folder);
  const isThere = changedAt(join(cwd, 'node_modules/.package-lock.json')) >= changedAt(join(cwd, 'package-lock.json'));
  if (isThere) return;
  try {
    await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund', '--fetch-retries=5'], { cwd });
  } catch (error) {
    throw new Error(`Cannot install what these tests run on. Try: cd ${folder} && npm ci`, { cause: error });
  }
}

function changedAt(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
