import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { BreakerStats } from '../../src/breaker/tally.js';
import { PRELOAD, ROOT } from '../support/child.js';
import type { ClientName } from './backends.js';

/** How many calls ended in which way, as their caller saw it. */
export type Outcomes = Partial<Record<'ok' | 'error' | 'rejected' | 'hangs', number>>;

export function addUp(...parts: readonly Outcomes[]): Outcomes {
  const total: Outcomes = {};
  for (const part of parts) {
    for (const [key, count] of Object.entries(part) as [keyof Outcomes, number][]) {
      total[key] = (total[key] ?? 0) + count;
    }
  }
  return total;
}

export interface Report {
  readonly stats: BreakerStats | undefined;
  readonly transitions: readonly number[];
  /** Failures counted that were no call: lost connections. */
  readonly evidence: number;
  /** What no process should ever see. */
  readonly troubles: readonly string[];
  readonly names: readonly string[];
}

/** Calls to be made, so many at once, until one of the other options ends them. */
export interface Calls {
  readonly atOnce: number;
  /** Milliseconds between a call's end and the next one. */
  readonly gap: number;
  readonly times?: number;
  readonly forMs?: number;
  /** Until the circuit of that breaker is closed, or has been open. */
  readonly name?: string;
  readonly until?: 'closed' | 'opened';
}

// Few enough to be used up in no time.
const MAX_DESCRIPTORS = 128;

/** The service whose calls are guarded: a process of its own, under the preload, with one client. */
export class Caller {
  readonly #waiting = new Map<number, { resolve: (result: never) => void; reject: (error: Error) => void }>();
  #orders = 0;
  #stderr = '';

  private constructor(private readonly child: ChildProcess) {
    child.on('message', ({ id, result, error }: { id: number; result: never; error?: string }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    child.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`Ended: ${code ?? signal}\n${this.#stderr}`));
      this.#waiting.clear();
    });
  }

  static async start(client: ClientName, rules: string): Promise<Caller> {
    const program = [...PRELOAD, join(__dirname, 'caller.cjs'), client];
    const child = spawn('sh', ['-c', `ulimit -n ${MAX_DESCRIPTORS} && exec "$0" "$@"`, process.execPath, ...program], {
      cwd: ROOT,
      env: { ...process.env, OTEL_BREAKER_CONFIG: rules, OTEL_EXPORTER_PROMETHEUS_PORT: '0' },
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    });
    const caller = new Caller(child);
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error(`The caller did not start:\n${caller.#stderr}`))),
    ]);
    return caller;
  }

  open(client: ClientName, options: object): Promise<void> {
    return this.#tell('open', { client, ...options });
  }

  calls(options: Calls): Promise<Outcomes> {
    return this.#tell('calls', options);
  }

  /** Makes so many calls and does not turn the event loop until so much later. */
  block(times: number, ms: number): Promise<Outcomes> {
    return this.#tell('block', { times, ms });
  }

  descriptors(exhaust: boolean): Promise<void> {
    return this.#tell('descriptors', { exhaust });
  }

  dns(fails: boolean): Promise<void> {
    return this.#tell('dns', { fails });
  }

  report(name: string): Promise<Report> {
    return this.#tell('stats', { name });
  }

  close(): Promise<void> {
    return this.#tell('close', {});
  }

  /** @returns everything that is wrong with how it ended */
  async end(): Promise<readonly string[]> {
    const exited = once(this.child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    await this.#tell('end', {});
    const [code, signal] = await exited;
    return code === 0 ? [] : [`the process ended with ${code ?? signal}: ${this.#stderr}`];
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  #tell<T>(order: string, options: object): Promise<T> {
    const id = ++this.#orders;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.child.send({ id, order, ...options });
    });
  }
}
