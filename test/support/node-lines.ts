import { execFile } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT } from './child.js';

const NODE22 = join(ROOT, 'test/lines/node22');
const OTEL3 = join(ROOT, 'test/lines/otel3');

/** The Nodes of later lines, and undici 8, which runs on them only. */
export const LATER_LINES = {
  undici8: join(NODE22, 'node_modules/undici'),
  nodes: {
    'Node 22': join(NODE22, 'node_modules/node22/bin/node'),
    'Node 24': join(NODE22, 'node_modules/node24/bin/node'),
  },
} as const;

/** Installs them where they are not. They are binaries for Linux on x64, where these tests run. */
export function installLaterLines(): Promise<void> {
  return install(NODE22);
}

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
  cwd: OTEL3,
  fixtures: join(OTEL3, 'node_modules/matrix'),
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
  const ours = join(OTEL3, 'node_modules/otel-breaker');
  const [, later] = OTEL_LINES;
  await Promise.all([ours, later!.fixtures].map((folder) => rm(folder, { recursive: true, force: true })));
  // Copies, not links: Node would follow a link and find the packages of this line.
  await cp(join(ROOT, 'dist'), join(ours, 'dist'), { recursive: true });
  await cp(join(ROOT, 'package.json'), join(ours, 'package.json'));
  await cp(FIXTURES, later!.fixtures, { recursive: true });
}

async function install(folder: string): Promise<void> {
  if (existsSync(join(folder, 'node_modules/.package-lock.json'))) return;
  try {
    await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund'], { cwd: folder });
  } catch (error) {
    throw new Error(`Cannot install what later lines of Node need. Try: cd ${folder} && npm ci`, { cause: error });
  }
}
