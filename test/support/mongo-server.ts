import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const PROGRAM = join(__dirname, 'mongo-server.cjs');

/** What becomes of the next commands of these names. */
export interface Fault {
  readonly commands: readonly string[];
  readonly times: number;
  /** They are answered with an error of this code. */
  readonly code?: number;
  /** Their connections are closed. */
  readonly close?: boolean;
  /** They, and all that follow, are answered so many milliseconds later. */
  readonly blockMs?: number;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A server of our own that speaks the protocol of MongoDB, in a process of its own: see `mongo-server.cjs`. */
export class MongoServer {
  #child: ChildProcess | undefined;
  #port = 0;

  static async start(): Promise<MongoServer> {
    const server = new MongoServer();
    await server.start();
    return server;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `mongodb://127.0.0.1:${this.#port}/?replicaSet=rs0`;
  }

  /** The name of its breaker. */
  get target(): string {
    return `mongodb://127.0.0.1:${this.#port}`;
  }

  /** Starts it again, on the port it had, without its data. */
  async start(): Promise<void> {
    const child = fork(PROGRAM, [String(this.#port)], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child = child;
    running.add(child);
    child.once('exit', () => running.delete(child));
    const [{ port }] = (await once(child, 'message')) as [{ port: number }];
    this.#port = port;
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || !running.has(child)) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  pause(): void {
    this.#child!.kill('SIGSTOP');
  }

  resume(): void {
    this.#child!.kill('SIGCONT');
  }

  async fail(fault: Fault): Promise<void> {
    await this.#tell({ fault });
  }

  async heal(): Promise<void> {
    await this.#tell({ fault: null });
  }

  /** It tells clients to come to another port, behind which it is. */
  async isBehind(port: number): Promise<void> {
    await this.#tell({ port });
  }

  /** How many commands of a name have come. */
  async seen(command: string): Promise<number> {
    return (await this.#tell({}))[command] ?? 0;
  }

  async #tell(message: object): Promise<Readonly<Record<string, number>>> {
    const child = this.#child!;
    child.send(message);
    const [{ seen }] = (await once(child, 'message')) as [{ seen: Record<string, number> }];
    return seen;
  }
}
