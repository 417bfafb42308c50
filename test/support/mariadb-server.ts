import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './free-port.js';
import { needProgram } from './programs.js';

const HOST = '127.0.0.1';
const BINARY = 'mariadbd';
const READY = 'ready for connections';
const ATTEMPTS = 5;
const USER = 'breaker';
const DATABASE = 'orders';

// Whatever becomes of a test run, no server outlives it; a paused one only dies of SIGKILL.
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A MariaDB of our own: any free loopback port, a private data directory, no accounts: whoever comes may do everything. */
export class MariadbServer {
  readonly host = HOST;
  readonly user = USER;
  readonly database = DATABASE;
  #port = 0;
  #child: ChildProcess | undefined;
  #log: string[] = [];

  private constructor(private readonly directory: string) {}

  /** Makes a database and starts its server. */
  static async start(): Promise<MariadbServer> {
    const directory = mkdtempSync(join(tmpdir(), 'otel-breaker-mariadb-'));
    // A database is a folder.
    mkdirSync(join(directory, 'data', DATABASE), { recursive: true });
    const server = new MariadbServer(directory);
    let failed: Error | undefined;
    // Between our look for a free port and the server's use of it, somebody else may have taken it.
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      server.#port = await freePort();
      failed = await server.#launch();
      if (failed === undefined) return server;
    }
    rmSync(directory, { recursive: true, force: true });
    throw failed!;
  }

  get port(): number {
    return this.#port;
  }

  get socketPath(): string {
    return join(this.directory, 'server.sock');
  }

  get url(): string {
    return `mysql://${USER}@${HOST}:${this.#port}/${DATABASE}`;
  }

  /** The name of its breaker. */
  get target(): string {
    return `mysql://${HOST}:${this.#port}/${DATABASE}`;
  }

  /** What clients take as their configuration. */
  get config(): { readonly host: string; readonly port: number; readonly user: string; readonly database: string } {
    return { host: HOST, port: this.#port, user: USER, database: DATABASE };
  }

  /** Starts it again, on the port and with the data it had. */
  async start(): Promise<void> {
    const failed = await this.#launch();
    if (failed !== undefined) throw failed;
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || !running.has(child)) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** From now on it holds its connections and accepts new ones, and answers nothing. */
  pause(): void {
    this.#child!.kill('SIGSTOP');
  }

  resume(): void {
    this.#child!.kill('SIGCONT');
  }

  /** Ends it and removes its data. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** @returns why it did not start, if it did not */
  async #launch(): Promise<Error | undefined> {
    const { file, env } = needProgram(BINARY);
    this.#log = [];
    const child = spawn(file, this.#arguments(), { cwd: this.directory, env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    running.add(child);
    return new Promise((resolve) => {
      createInterface(child.stderr).on('line', (line) => {
        this.#log.push(line);
        if (line.includes(READY)) resolve(undefined);
      });
      child.once('error', (error) => {
        running.delete(child);
        resolve(error);
      });
      child.once('exit', () => {
        running.delete(child);
        resolve(new Error(`${BINARY} ended at once:\n${this.#log.join('\n')}`));
      });
    });
  }

  #arguments(): string[] {
    return [
      '--no-defaults',
      ...(process.getuid?.() === 0 ? ['--user=root'] : []),
      // So it needs no tables of its own, whose making takes longer than most tests.
      '--skip-grant-tables',
      `--datadir=${join(this.directory, 'data')}`,
      `--socket=${this.socketPath}`,
      `--pid-file=${join(this.directory, 'server.pid')}`,
      `--bind-address=${HOST}`,
      `--port=${this.#port}`,
      '--max-connections=300',
      '--innodb-buffer-pool-size=8M',
      '--innodb-log-file-size=4M',
      '--innodb-flush-log-at-trx-commit=0',
      '--innodb-use-native-aio=0',
    ];
  }
}
