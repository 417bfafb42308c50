/**
 * Gets the servers, the browser and the tools that the tests start, where this machine has none, and says what it does.
 *
 *     npm run servers                what `npm test` needs; it calls this by itself
 *     npm run servers -- --checks    and what `.ci/run` needs beside: the other Nodes are one of these
 *
 * As root on Debian and Ubuntu they are installed; without root their packages are unpacked into the folder `.servers` of
 * this project. Elsewhere the command that installs them is printed, and this fails.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findChromium } from '../test/console/chromium.js';
import { installLines } from '../test/support/node-lines.js';
import { hasPostgres } from '../test/support/postgres-server.js';
import {
  CACHE,
  findProgram,
  FONT_SETTINGS,
  FOR_CHECKS,
  FOR_TESTS,
  type Need,
  type PackageManager,
} from '../test/support/programs.js';

const started = performance.now();

const MANAGERS: Readonly<Record<PackageManager, string>> = {
  brew: 'brew install',
  dnf: 'sudo dnf install -y',
  apk: 'apk add',
  pacman: 'sudo pacman -S --noconfirm',
  zypper: 'sudo zypper install -y',
};

/** Debian's way to say that no service may be started now. The tests start servers of their own. */
const POLICY = '/usr/sbin/policy-rc.d';

/** Belongs to the loader of this machine, whose version it must have. */
const NEVER_UNPACKED = new Set(['libc6', 'libc-bin']);

class Unavailable extends Error {}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { checks: { type: 'boolean', default: false } } });
  const needs = values.checks ? [...FOR_TESTS, ...FOR_CHECKS] : FOR_TESTS;
  const missing = needs.filter((need) => !isThere(need));
  if (missing.length > 0) await get(missing);
  // Tests that run one after the other install them when they need them; not all systems can.
  if (values.checks) await installLines();
}

async function get(missing: readonly Need[]): Promise<void> {
  say(`The tests need, and this machine has no ${missing.map(({ name }) => name).join(', no ')}.`);
  if (!hasApt()) throw new Unavailable(commandElsewhere(missing));
  if (process.getuid?.() === 0) await install(missing);
  else await unpack(missing);
  for (const need of missing) tryOut(need);
  say(`All there now, after ${((performance.now() - started) / 1_000).toFixed(0)} s.`);
}

function isThere({ name, programs }: Need): boolean {
  // An npm package brings it for most systems.
  if (name === 'PostgreSQL') return hasPostgres();
  if (name === 'Chromium') return findChromium() !== undefined;
  return programs.every((names) => findProgram(...names) !== undefined);
}

function hasApt(): boolean {
  return process.platform === 'linux' && ['apt-get', 'dpkg'].every((name) => findProgram(name) !== undefined);
}

/** Into the system, by its own package manager. */
async function install(needs: readonly Need[]): Promise<void> {
  const packages = needs.flatMap(({ apt }) => apt);
  say(`Installing by apt-get, as root: ${packages.join(' ')}`);
  const guarded = !existsSync(POLICY);
  if (guarded) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const removePolicy = () => {
    if (guarded) rmSync(POLICY, { force: true });
  };
  process.once('exit', removePolicy);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

  await updateLists([]);
  await refuseUnknown(needs, []);
  await run('apt-get', [...INSTALL, ...packages], { DEBIAN_FRONTEND: 'noninteractive' });
  removePolicy();
}

const RETRIES = ['-o', 'Acquire::Retries=3'];
const INSTALL = ['install', '-y', '-qq', '--no-install-recommends', ...RETRIES];

/** Into a folder of this project: nobody's permission is needed, and nothing else changes. */
async function unpack(needs: readonly Need[]): Promise<void> {
  say(`Not root: unpacking packages of this system into ${CACHE}, which can be removed at any time.`);
  const apt = join(CACHE, '.apt');
  mkdirSync(join(apt, 'lists/partial'), { recursive: true });
  mkdirSync(join(apt, 'archives/partial'), { recursive: true });
  // Lists of our own, so that none of the system's are needed, or touched. What is installed is as the system says.
  const options = [
    ...['-o', `Dir::State::lists=${join(apt, 'lists')}`],
    ...['-o', `Dir::Cache=${apt}`, '-o', `Dir::Cache::archives=${join(apt, 'archives')}`],
    ...['-o', 'Debug::NoLocking=true', '-o', 'Acquire::Languages=none', ...RETRIES],
  ];
  await updateLists(options);
  await refuseUnknown(needs, options);
  for (const need of needs) await unpackOne(need, apt, options);
  rmSync(apt, { recursive: true, force: true });
}

async function unpackOne({ name, apt: packages }: Need, apt: string, options: readonly string[]): Promise<void> {
  const plan = ['install', '--simulate', '--no-install-recommends', ...options, ...packages];
  const absent = [...(await run('apt-get', plan)).matchAll(/^Inst (\S+)/gm)]
    .map(([, absentName]) => absentName!)
    .filter((absentName) => !NEVER_UNPACKED.has(absentName));
  say(`  ${name}: ${absent.length} packages`);

  const debs = join(apt, 'debs');
  const root = join(apt, 'root');
  for (const folder of [debs, root]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
  }
  await run('apt-get', ['download', '-qq', ...options, ...absent], {}, debs);
  for (const deb of readdirSync(debs)) await run('dpkg', ['-x', join(debs, deb), root]);

  const target = join(CACHE, packages[0]!);
  moveLinkerScripts(root, target);
  writeFontSettings(root, target);
  // In one step: a folder that is there is whole.
  rmSync(target, { recursive: true, force: true });
  renameSync(root, target);
}

/** Libraries that are a few lines of text name other files from the root of the system. */
function moveLinkerScripts(root: string, target: string): void {
  const libraries = join(root, 'usr/lib');
  if (!existsSync(libraries)) return;
  for (const name of readdirSync(libraries, { recursive: true, encoding: 'utf8' })) {
    const file = join(libraries, name);
    if (!name.endsWith('.so') || !lstatSync(file).isFile() || lstatSync(file).size > 1_000) continue;
    const text = readFileSync(file, 'utf8');
    if (!text.includes('GNU ld script')) continue;
    const moved = text.replace(/\/usr\/lib\/\S+/g, (path) =>
      existsSync(join(root, path)) ? join(target, path) : path,
    );
    writeFileSync(file, moved);
  }
}

/** Fonts of an installation are found by links that its scripts make. A browser without any font ends itself. */
function writeFontSettings(root: string, target: string): void {
  if (!existsSync(join(root, 'usr/share/fonts'))) return;
  const folders = ['/usr/share/fonts', join(target, 'usr/share/fonts')];
  writeFileSync(
    join(root, FONT_SETTINGS),
    `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
${folders.map((folder) => `  <dir>${folder}</dir>`).join('\n')}
  <cachedir>${join(target, 'font-cache')}</cachedir>
</fontconfig>
`,
  );
}

/** What is there but does not start would fail in the midst of the tests. */
function tryOut({ name, programs, version, apt }: Need): void {
  const program = findProgram(...programs[0]!);
  // Only PostgreSQL may be elsewhere, and its tests say well enough what is wrong.
  if (program === undefined) return;
  const { status, stdout, stderr, error } = spawnSync(program.file, [version], { env: program.env, encoding: 'utf8' });
  if (status === 0) {
    say(`  ${stdout.trim().split('\n')[0]}`);
    return;
  }
  if (program.root !== '') rmSync(join(CACHE, apt[0]!), { recursive: true, force: true });
  throw new Unavailable(`${name} does not start: ${program.file} ${version}\n${error?.message ?? stderr}`);
}

/** Ubuntu's apt has only the name of Chromium, and a snap behind it. */
async function refuseUnknown(needs: readonly Need[], options: readonly string[]): Promise<void> {
  for (const { name, apt } of needs) {
    const policy = await run('apt-cache', ['policy', ...options, ...apt]);
    const candidates = [...policy.matchAll(/^ {2}Candidate: (.*)$/gm)].map(([, version]) => version!);
    if (candidates.length === apt.length && !candidates.some((version) => /\(none\)|snap/.test(version))) continue;
    throw new Unavailable(
      name === 'Chromium'
        ? 'There is no package of Chromium for this system. Install it: npx playwright-core install --with-deps chromium'
        : `apt-get has no ${apt.join(' ')} for this system. Install ${name} from elsewhere.`,
    );
  }
}

/** A list that cannot be read may be one of others: whether something is missing will show. */
async function updateLists(options: readonly string[]): Promise<void> {
  try {
    await run('apt-get', ['update', '-qq', ...RETRIES, ...options]);
  } catch (error) {
    say(`  ${(error as Error).message.trim()}`);
  }
}

function commandElsewhere(needs: readonly Need[]): string {
  const manager = (Object.keys(MANAGERS) as PackageManager[]).find((name) => findProgram(name) !== undefined);
  if (manager === undefined) {
    return `Install ${needs.map(({ name }) => name).join(', ')}, so that ${programsOf(needs)} are on the PATH.`;
  }
  const packages = needs.map(({ elsewhere }) => elsewhere[manager]).join(' ');
  return `Install them: ${MANAGERS[manager]} ${packages}`;
}

function programsOf(needs: readonly Need[]): string {
  return needs.flatMap(({ programs }) => programs.map(([name]) => name)).join(', ');
}

/** @returns what it printed; rejects where it fails, with all that it said */
function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = '/'): Promise<string> {
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, LC_ALL: 'C', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else reject(new Unavailable(`${file} ${args[0]} failed (${code ?? signal}):\n${stderr || stdout}`));
    });
  });
}

function say(text: string): void {
  console.log(text);
}

main().catch((error: unknown) => {
  console.error(error instanceof Unavailable ? error.message : error);
  process.exitCode = 1;
});
