import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './free-port.js';
import { needProgram } from './programs.js';

const HOST = '127.0.0.1';
const BINARY = 'redis-server';
const READY = /Ready to accept connections/;
const SENTINEL_READY = /\+slave slave/;
const ATTEMPTS = 5;

type Settings = Readonly<Record<string, string>>;

// Whatever becomes of a test run, no server outlives it; a paused one only dies of SIGKILL.
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A Redis of our own: any free loopback port, a private data directory, every fault that a server can have. */
export class RedisServer {
  readonly host = HOST;
  readonly #settings: Settings;
  readonly #sentinelOf: RedisServer | undefined;
  readonly #waiting = new Set<{ readonly line: RegExp; readonly heard: () => void }>();
  #log: string[] = [];
  #port = 0;
  #directory = '';
  #child: ChildProcess | undefined;

  private constructor(settings: Settings, sentinelOf?: RedisServer) {
    this.#settings = settings;
    this.#sentinelOf = sentinelOf;
  }

  /** @param settings of redis.conf, such as `{ maxmemory: '1' }` */
  static async start(settings: Settings = {}): Promise<RedisServer> {
    return new RedisServer(settings).#begin();
  }

  /** A replica that has all data of its master. */
  static async startReplica(master: RedisServer): Promise<RedisServer> {
    const replica = await RedisServer.start({ replicaof: `${HOST} ${master.port}` });
    await replica.logged(/sync: Finished with success/);
    return replica;
  }

  /** A sentinel that alone decides whether the group `mymaster` needs another master, and knows a replica for that. */
  static async startSentinel(master: RedisServer): Promise<RedisServer> {
    return new RedisServer({}, master).#begin();
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `redis://${HOST}:${this.#port}`;
  }

  /** The name of its breaker. */
  get target(): string {
    return this.url;
  }

  /** Starts it again, on the port and with the data directory it had. */
  async start(): Promise<void> {
    const failed = await this.#launch();
    if (failed !== undefined) throw failed;
  }

  /** Ends it as an administrator would. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** From now on it holds its connections and accepts new ones, and answers nothing. */
  pause(): void {
    this.#child!.kill('SIGSTOP');
  }

  resume(): void {
    this.#child!.kill('SIGCONT');
  }

  /** Ends it and removes its data. */
  async remove(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** Sends one command past every client library, and gives the raw reply; rejects where it is an error. */
  async command(...words: string[]): Promise<string> {
    const socket = connect(this.#port, HOST);
    try {
      socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`);
      const [reply] = (await once(socket, 'data')) as [Buffer];
      if (reply.toString().startsWith('-')) throw new Error(`${words.join(' ')}: ${reply.toString().trim()}`);
      return reply.toString().trim();
    } finally {
      socket.destroy();
    }
  }

  /** Resolves once its log has a line that matches, since it was last started. */
  async logged(line: RegExp): Promise<void> {
    if (this.#log.some((present) => line.test(present))) return;
    await new Promise<void>((heard) => this.#waiting.add({ line, heard }));
  }

  async #begin(): Promise<this> {
    this.#directory = await mkdtemp(join(tmpdir(), 'otel-breaker-redis-'));
    let failed: Error | undefined;
    // Between our look for a free port and the server's use of it, somebody else may have taken it.
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      this.#port = await freePort();
      failed = await this.#launch();
      if (failed === undefined) return this;
    }
    await rm(this.#directory, { recursive: true, force: true });
    throw failed!;
  }

  /** @returns why it did not start, if it did not */
  async #launch(): Promise<Error | undefined> {
    const { file, env } = needProgram(BINARY);
    const child = spawn(file, await this.#arguments(), {
      cwd: this.#directory,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    running.add(child);
    createInterface(child.stdout).on('line', (line) => this.#hear(line));
    createInterface(child.stderr).on('line', (line) => this.#hear(line));
    const ready = this.logged(this.#sentinelOf === undefined ? READY : SENTINEL_READY);
    const failed = new Promise<Error>((resolve) => {
      child.once('error', (error) => {
        running.delete(child);
        resolve(error);
      });
      child.once('exit', () => {
        running.delete(child);
        resolve(new Error(`${BINARY} ended at once:\n${this.#log.join('\n')}`));
      });
    });
    return Promise.race([ready.then(() => undefined), failed]);
  }

  #hear(line: string): void {
    this.#log.push(line);
    for (const waiting of this.#waiting) {
      if (!waiting.line.test(line)) continue;
      this.#waiting.delete(waiting);
      waiting.heard();
    }
  }

  async #arguments(): Promise<string[]> {
    const settings: Settings = {
      bind: HOST,
      port: String(this.#port),
      dir: this.#directory,
      save: '',
      'enable-debug-command': 'yes',
      'repl-diskless-sync-delay': '0',
      ...this.#settings,
    };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    if (this.#sentinelOf === undefined) return words;

    // A sentinel writes what it learns into its file.
    const file = join(this.#directory, 'sentinel.conf');
    const lines = [
      `bind ${HOST}`,
      `port ${this.#port}`,
      `dir ${this.#directory}`,
      `sentinel monitor mymaster ${HOST} ${this.#sentinelOf.port} 1`,
      'sentinel down-after-milliseconds mymaster 300',
      'sentinel failover-timeout mymaster 2000',
    ];
    await writeFile(file, lines.join('\n'));
    return [file, '--sentinel'];
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    this.#log = [];
    if (child === undefined || !running.has(child)) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}

/** A cluster of three masters that share all slots. */
export class RedisCluster {
  private constructor(readonly nodes: readonly RedisServer[]) {}

  /** @param settings of redis.conf, of all nodes */
  static async start(settings: Settings = {}): Promise<RedisCluster> {
    const nodes: RedisServer[] = [];
    for (let node = 0; node < 3; node++) {
      const busPort = String(await freePort());
      nodes.push(
        await RedisServer.start({
          'cluster-enabled': 'yes',
          'cluster-port': busPort,
          'cluster-node-timeout': '500',
          ...settings,
        }),
      );
    }
    const [first] = nodes as [RedisServer, ...RedisServer[]];
    const up = nodes.map((node) => node.logged(/Cluster state changed: ok/));
    const borders = [0, 5461, 10923, 16384];
    for (const [index, node] of nodes.entries()) {
      await node.command('CLUSTER', 'ADDSLOTSRANGE', String(borders[index]), String(borders[index + 1]! - 1));
      const bus = /@(\d+)/.exec(await node.command('CLUSTER', 'NODES'))![1]!;
      await node.command('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
      if (node !== first) await first.command('CLUSTER', 'MEET', HOST, String(node.port), bus);
    }
    await Promise.all(up);
    return new RedisCluster(nodes);
  }

  get startupNodes(): { host: string; port: number }[] {
    return this.nodes.map(({ host, port }) => ({ host, port }));
  }

  /** The name of its breaker. */
  get target(): string {
    return `redis+cluster://${HOST}:${this.nodes[0]!.port}`;
  }

  async kill(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
  }

  /** Starts all nodes again; resolves once they agree that the cluster works. */
  async restart(): Promise<void> {
    const up = this.nodes.map((node) => node.logged(/Cluster state changed: ok/));
    await Promise.all(this.nodes.map((node) => node.start()));
    await Promise.all(up);
  }

  async remove(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.remove()));
  }
}

/** A Redis to use and not to hurt: the one at `REDIS_URL`, else one of our own. */
export async function findRedis(): Promise<{ readonly url: string; release(): Promise<void> }> {
  const url = process.env.REDIS_URL;
  if (url) return { url, release: () => Promise.resolve() };
  const server = await RedisServer.start();
  return { url: server.url, release: () => server.remove() };
}
