import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PRELOAD, spawnNode } from '../support/child.js';

/** A server that can go away and come back. */
export interface Service {
  /** How a client finds it: variables of its environment. */
  readonly env: NodeJS.ProcessEnv;
  away(): Promise<void>;
  /** Resolves when it takes connections again. */
  back(): Promise<void>;
  remove(): Promise<void>;
}

/**
 * How calls are made: `awaited` by users that come every so often and look at the outcome; `fire-and-forget`, where nobody
 * would catch an error; in a `tight loop`, which tries again at once where a call fails.
 */
export type Pattern = 'awaited' | 'fire-and-forget' | 'tight loop';

/** Who calls: a process of its own. */
export interface Caller {
  readonly pattern: Pattern;
  /** Milliseconds between calls; a tight loop has none. */
  readonly everyMs?: number;
  readonly preload: boolean;
}

export interface Outage {
  /** A file of `test/outages/clients`. */
  readonly client: string;
  readonly service: () => Promise<Service>;
  /** All at the same time, to one server. */
  readonly callers: readonly Caller[];
  readonly awayMs: number;
  /** Milliseconds for which calls are made before; default 1,500: the preload goes on loading for about a second. */
  readonly beforeMs?: number;
  /** Calls go on after the return until none has failed for so many milliseconds; default 1,000. */
  readonly quietMs?: number;
  /** At most so many milliseconds after the return; default 6,000. */
  readonly afterMs?: number;
}

/** A client, as the tests and the tables of `docs/outages.md` list it. `rows.ts` says how to add one. */
export interface Row {
  readonly title: string;
  readonly client: string;
  readonly service: () => Promise<Service>;
  /** Without `fire-and-forget` where a failed call ends the process in any case. */
  readonly patterns: readonly Pattern[];
  /** Whether calls fail in short outages without us, so that it takes a second process to know how many; default they do. */
  readonly failsWithout?: boolean;
  /** Whether chance decides how many calls fail, so that a count proves nothing; default it does not. */
  readonly failsByChance?: boolean;
  /** Whether the tests run it; otherwise only `npm run outages` does. */
  readonly inTests?: boolean;
  /** Set where its server is also killed under 100 callers. */
  readonly underCallers?: UnderCallers;
}

/** How a client is taken through the death of its server under many callers: `killed.ts`. */
export interface UnderCallers {
  /** Milliseconds for which the client keeps a call before it gives it up by itself; default none. */
  readonly patienceMs?: number;
  /** Whether `whenOpen: throw` is tried, too: for clients that keep calls in a queue of their own. */
  readonly throws?: boolean;
  readonly inTests?: boolean;
}

/** What the callers of a service saw of an outage. */
export interface Seen {
  readonly calls: number;
  readonly failed: number;
  readonly longestMs: number;
  /** Milliseconds between the return and the last failure; 0 where none came later. */
  readonly lastFailureMs: number;
  /** The longest time for which the process worked and its event loop did not turn, from the outage on. */
  readonly blockedMs: number;
  /** For how long the server was away. */
  readonly awayMs: number;
  /** CPU time used while the server was away, as a share of one core. */
  readonly cpu: number;
  readonly alive: boolean;
  /** What a dead process printed, or the last error. */
  readonly said: string;
}

const CHILD = join(__dirname, 'child.cjs');
// From the return on, also for what waits when the calls stop: BullMQ tries to connect every 20 s at least.
const PATIENCE_MS = 40_000;

/** Lets clients call, in processes of their own, while their server goes away. @returns what each caller saw */
export async function runOutage(outage: Outage): Promise<Seen[]> {
  const { callers, awayMs, beforeMs = 1_500 } = outage;
  const service = await outage.service();
  const processes = callers.map((caller) => new CallingProcess(outage, caller, service.env));
  const tell = (message: string) => processes.forEach((it) => it.tell(message));
  try {
    await Promise.all(processes.map((it) => it.ready()));
    tell('begin');
    await sleep(beforeMs);
    tell('away');
    await service.away();
    const from = performance.now();
    await sleep(awayMs);
    tell('about to return');
    const outMs = performance.now() - from;
    await service.back();
    const returnedAt = Date.now();
    const gone = { awayMs: performance.now() - from, outMs, returnedAt };
    tell('back');
    return await Promise.all(processes.map((it) => it.report(gone)));
  } finally {
    await Promise.all(processes.map((it) => it.end()));
    await service.remove();
  }
}

/** How long a server was away, with the time that it took to start and without it, and when it was back. */
interface Absence {
  readonly awayMs: number;
  readonly outMs: number;
  readonly returnedAt: number;
}

/** What a process reports in the end. */
interface Report {
  readonly calls: number;
  readonly failed: number;
  readonly longestMs: number;
  readonly lastFailureAt: number;
  readonly blockedMs: number;
  readonly cpuMs: number;
  readonly lastError: string;
}

class CallingProcess {
  readonly #child;
  readonly #ended: Promise<unknown>;
  readonly #messages: unknown[] = [];
  readonly #began: Promise<unknown>;
  #stderr = '';

  constructor(outage: Outage, { pattern, everyMs = 20, preload }: Caller, env: NodeJS.ProcessEnv) {
    const { client, quietMs = 1_000, afterMs = 6_000 } = outage;
    this.#child = spawnNode({
      program: CHILD,
      programArgs: [client, pattern, ...[everyMs, quietMs, afterMs].map(String)],
      nodeArgs: preload ? PRELOAD : [],
      env,
      ipc: true,
    });
    this.#child.stdout!.resume();
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    this.#ended = once(this.#child, 'close');
    this.#began = once(this.#child, 'message');
    this.#child.on('message', (message) => this.#messages.push(message));
  }

  async ready(): Promise<void> {
    await Promise.race([this.#began, this.#ended]);
    if (this.#messages.length === 0) throw new Error(`Never began:\n${this.#stderr}`);
  }

  tell(message: string): void {
    if (this.#child.connected) this.#child.send(message);
  }

  async report({ awayMs, outMs, returnedAt }: Absence): Promise<Seen> {
    await Promise.race([this.#ended, sleep(PATIENCE_MS, undefined, { ref: false })]);
    const report = this.#messages[1] as Report | undefined;
    if (report === undefined) return { ...NOTHING_SEEN, awayMs, said: this.#stderr || 'It did not end.' };
    const { calls, failed, longestMs, lastFailureAt, blockedMs, cpuMs, lastError } = report;
    return {
      calls,
      failed,
      longestMs,
      lastFailureMs: Math.max(0, lastFailureAt - returnedAt),
      blockedMs: Math.round(blockedMs),
      awayMs,
      cpu: cpuMs / outMs,
      alive: true,
      said: lastError,
    };
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

const NOTHING_SEEN = { calls: 0, failed: 0, longestMs: 0, lastFailureMs: 0, blockedMs: 0, cpu: 0, alive: false };
