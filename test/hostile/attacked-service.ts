import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { METRICS_ADDRESS, startApp } from '../support/app.js';
import { PRELOAD } from '../support/child.js';

/** How the service fared. */
export interface Health {
  /** The longest time for which the event loop did not turn, in milliseconds. */
  readonly longest: number;
  /** The most memory it had, in bytes. */
  readonly rss: number;
  /** How much more than before, in bytes. */
  readonly grown: number;
}

export interface AttackedOptions {
  readonly breakers: number;
  readonly nodeArgs?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Where it runs, and so whose otel-breaker it finds; default the root of this package. */
  readonly cwd?: string;
  /** Default the one here; a copy of it finds the package that is installed beside it. */
  readonly program?: string;
}

export const SERVICE = join(__dirname, 'service.cjs');
const REQUEST = 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n';

/** A service under the preload, in a process of its own, whose port is attacked. `stopApps()` ends it. */
export class AttackedService {
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly service: string,
    readonly port: number,
  ) {}

  static async start({
    breakers,
    nodeArgs = [],
    env,
    cwd,
    program = SERVICE,
  }: AttackedOptions): Promise<AttackedService> {
    const app = startApp({
      nodeArgs: [...nodeArgs, ...PRELOAD],
      env: { BREAKERS: String(breakers), ...env },
      program,
      ...(cwd !== undefined && { cwd }),
    });
    const [[, at], [, metrics]] = await Promise.all([
      app.prints('stdout', /service at (\S+)/),
      app.prints('stderr', METRICS_ADDRESS),
    ]);
    const attacked = new AttackedService(at!, Number(new URL(metrics!).port));
    await attacked.text('/metrics');
    return attacked;
  }

  /** What its port answers. */
  async text(path: string): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.port}${path}`)).text();
  }

  /** A connection to its port that may have asked already. */
  open(bytes = ''): Socket {
    const socket = connect(this.port, '127.0.0.1').on('error', () => {});
    this.#sockets.add(socket);
    if (bytes !== '') socket.write(bytes);
    return socket;
  }

  /** Asks for its metrics and reads nothing. */
  askAndNeverRead(): void {
    this.open(REQUEST).pause();
  }

  /** How it fares for as long as something is done to it. */
  async during(attack: () => Promise<unknown>): Promise<Health> {
    const { rss } = await this.#ask('/begin');
    await attack();
    const after = await this.#ask('/');
    return { ...after, grown: after.rss - rss };
  }

  /** Asks so many times in one packet and reads nothing until the service has ended the connection by itself. */
  async pipeline(path: string, count: number): Promise<void> {
    const socket = this.open(REQUEST.replace('/metrics', path).repeat(count));
    await once(socket, 'connect');
    // Paused: whatever is sent stays with the service.
    for (let time = 0; time < 10; time++) await this.text('/healthz');
    socket.resume();
    if (!socket.closed) await once(socket, 'close');
  }

  disconnect(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async #ask(path: string): Promise<Omit<Health, 'grown'>> {
    return (await (await fetch(`${this.service}${path}`)).json()) as Omit<Health, 'grown'>;
  }
}
