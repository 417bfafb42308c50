import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ROOT } from './child.js';

/** A program that tests start, and what it needs to find its libraries and its data. */
export interface Program {
  readonly file: string;
  readonly env: NodeJS.ProcessEnv;
  /** Stands for `/` in the paths of its package: not empty where it was unpacked into the cache of this project. */
  readonly root: string;
}

/** What has to be there for the tests: a server, a browser or a tool, and the programs that belong to it. */
export interface Need {
  readonly name: string;
  /** Names under which programs are looked for, the first that is found counts; all of the list are needed. */
  readonly programs: readonly (readonly string[])[];
  /** What prints a version, and so shows that the first program starts at all. */
  readonly version: string;
  /** Packages of Debian and Ubuntu. */
  readonly apt: readonly string[];
  /** Packages of other systems, by the command that installs them. */
  readonly elsewhere: Readonly<Record<PackageManager, string>>;
}

export type PackageManager = 'brew' | 'dnf' | 'apk' | 'pacman' | 'zypper';

/** What `npm test` needs. */
export const FOR_TESTS: readonly Need[] = [
  {
    name: 'Redis',
    programs: [['redis-server']],
    version: '--version',
    apt: ['redis-server'],
    elsewhere: { brew: 'redis', dnf: 'redis', apk: 'redis', pacman: 'redis', zypper: 'redis' },
  },
  {
    name: 'PostgreSQL',
    programs: [['postgres'], ['initdb']],
    version: '--version',
    apt: ['postgresql'],
    elsewhere: {
      brew: 'postgresql',
      dnf: 'postgresql-server',
      apk: 'postgresql',
      pacman: 'postgresql',
      zypper: 'postgresql-server',
    },
  },
  {
    name: 'Prometheus',
    programs: [['prometheus'], ['promtool']],
    version: '--version',
    apt: ['prometheus'],
    elsewhere: {
      brew: 'prometheus',
      dnf: 'golang-github-prometheus',
      apk: 'prometheus',
      pacman: 'prometheus',
      zypper: 'golang-github-prometheus-prometheus',
    },
  },
  {
    name: 'MariaDB',
    programs: [['mariadbd', 'mysqld'], ['mariadb-install-db'], ['my_print_defaults']],
    version: '--version',
    apt: ['mariadb-server-core', 'mariadb-client-core'],
    elsewhere: { brew: 'mariadb', dnf: 'mariadb-server', apk: 'mariadb', pacman: 'mariadb', zypper: 'mariadb' },
  },
  {
    name: 'Chromium',
    programs: [['chromium', 'chromium-browser', 'google-chrome']],
    version: '--version',
    apt: ['chromium'],
    elsewhere: { brew: 'chromium', dnf: 'chromium', apk: 'chromium', pacman: 'chromium', zypper: 'chromium' },
  },
  {
    // Commands of the documents are run as they stand.
    name: 'curl',
    programs: [['curl']],
    version: '--version',
    apt: ['curl'],
    elsewhere: { brew: 'curl', dnf: 'curl', apk: 'curl', pacman: 'curl', zypper: 'curl' },
  },
];

/** What `.ci/run` needs beside: to check the model of a fleet, Spin writes a program in C. */
export const FOR_CHECKS: readonly Need[] = [
  {
    name: 'Spin',
    programs: [['spin'], ['gcc', 'cc']],
    version: '-V',
    apt: ['spin', 'gcc', 'libc6-dev'],
    elsewhere: {
      brew: 'spin gcc',
      dnf: 'spin gcc',
      apk: 'spin gcc musl-dev',
      pacman: 'spin gcc',
      zypper: 'spin gcc',
    },
  },
];

/** Where `scripts/servers.ts` unpacks what it may not install: a folder for each need. `SERVERS_CACHE` names another place. */
export const CACHE = process.env.SERVERS_CACHE || join(ROOT, '.servers');

/** Where the fonts of a browser in the cache are, in its folder. */
export const FONT_SETTINGS = 'fonts.conf';

/** Where a program is: on the PATH, where Debian keeps it, or in the cache. */
export function findProgram(...names: readonly string[]): Program | undefined {
  for (const folder of systemFolders()) {
    for (const name of names) {
      const file = join(folder, name);
      if (isExecutable(file)) return { file, env: process.env, root: '' };
    }
  }
  for (const root of unpackedNeeds()) {
    for (const name of names) {
      const file = BIN.map((bin) => join(root, bin, name)).find(isExecutable);
      if (file !== undefined) return { file: programOf(root, file, name), env: environmentOf(root), root };
    }
  }
  return undefined;
}

/** The same, for those who cannot do without. */
export function needProgram(...names: readonly string[]): Program {
  const program = findProgram(...names);
  if (program !== undefined) return program;
  throw new Error(`There is no ${names.join(' or ')} on the PATH. "npm run servers" gets what the tests need.`);
}

/** The variables that a program started out of the cache needs for its libraries, its fonts and its helpers. */
export function environmentOf(root: string): NodeJS.ProcessEnv {
  const under = (...folders: string[]) =>
    folders.map((folder) => join(root, folder)).filter((path) => existsSync(path));
  const list = (paths: readonly string[], before = '') => [before, ...paths].filter(Boolean).join(delimiter);
  const libraries = under('lib', 'usr/lib').flatMap((folder) => librariesUnder(folder, 2));
  const fonts = under(FONT_SETTINGS);
  const headers = under('usr/include').flatMap((folder) => [folder, ...tripletsIn(folder)]);
  return {
    ...process.env,
    PATH: list(under(...BIN), process.env.PATH),
    LD_LIBRARY_PATH: list(libraries, process.env.LD_LIBRARY_PATH),
    // A machine that has fonts and their settings keeps them.
    ...(fonts.length > 0 && !existsSync('/etc/fonts/fonts.conf') && { FONTCONFIG_FILE: fonts[0] }),
    ...(headers.length > 0 && { C_INCLUDE_PATH: list(headers), LIBRARY_PATH: list(libraries) }),
  };
}

const BIN = ['usr/bin', 'usr/sbin', 'bin', 'sbin'];

function unpackedNeeds(): string[] {
  if (!existsSync(CACHE)) return [];
  return readdirSync(CACHE)
    .filter((name) => !name.startsWith('.'))
    .map((name) => join(CACHE, name));
}

function systemFolders(): string[] {
  const path = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  // Servers are kept apart from what a user without further rights has on the PATH.
  const servers = path.filter((folder) => /\/bin\/?$/.test(folder)).map((folder) => folder.replace(/bin\/?$/, 'sbin'));
  return [...new Set([...path, ...servers])];
}

/** Debian's Chromium is started by a script that knows only the places of an installation. */
function programOf(root: string, file: string, name: string): string {
  const inner = join(root, 'usr/lib', name, name);
  return isExecutable(inner) && statSync(inner).isFile() ? inner : file;
}

/** Folders such as `x86_64-linux-gnu`, for headers of one architecture. */
function tripletsIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => /-linux-gnu\w*$/.test(name))
    .map((name) => join(folder, name));
}

/** Folders that have shared libraries right in them. */
function librariesUnder(folder: string, depth: number): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  const deeper = depth === 0 ? [] : entries.filter((entry) => entry.isDirectory());
  return [
    ...(entries.some(({ name }) => /\.so(\.|$)/.test(name)) ? [folder] : []),
    ...deeper.flatMap(({ name }) => librariesUnder(join(folder, name), depth - 1)),
  ];
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
