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
 * would catch an error; in a `tight loop`, which tries again at once.
 */
export type Pattern = 'awaited' | 'fire-and-forget' | 'tight loop';

export interface Outage {
  /** A file of `test/outages/clients`, which exports `call()` and, for calls that nobody awaits, `arrived()`: how many did. */
  readonly client: string;
  readonly pattern: Pattern;
  /** Milliseconds between calls; a tight loop has none. */
  readonly everyMs?: number;
  readonly awayMs: number;
  readonly preload: boolean;
  readonly service: () => Promise<Service>;
  /** Milliseconds for which calls are made before; default 1,500: the preload goes on loading for about a second. */
  readonly beforeMs?: number;
  /** Milliseconds for which calls go on after the return; default 1,500. */
  readonly afterMs?: number;
}

/** A client, as the tests and the table of `docs/outages.md` list it. */
export interface Row {
  readonly title: string;
  readonly client: string;
  readonly service: () => Promise<Service>;
  readonly patterns: readonly Pattern[];
  /** Whether calls fail in short outages without us, so that it takes a second run to know how many; default they do. */
  readonly failsWithout?: boolean;
  /** Whether the tests run it; otherwise only `npm run outages` does. */
  readonly inTests?: boolean;
}

/** What the callers of a service saw of an outage. */
export interface Seen {
  readonly calls: number;
  readonly failed: number;
  readonly longestMs: number;
  /** Milliseconds between the return and the last failure; 0 where none came later. */
  readonly lastFailureMs: number;
  /** The longest time for which the event loop did not turn, from the outage on. */
  readonly blockedMs: number;
  /** CPU time used while the server was away, as a share of one core. */
  readonly cpu: number;
  readonly alive: boolean;
  /** What a dead process printed, or the last error. */
  readonly said: string;
}

const CHILD = join(__dirname, 'child.cjs');
// For what waits when the calls stop.
const PATIENCE_MS = 10_000;

/** Runs a client in a process of its own while its server goes away, with the preload or without. */
export async function runOutage(outage: Outage): Promise<Seen> {
  const { client, pattern, everyMs = 20, awayMs, preload, beforeMs = 1_500, afterMs = 1_500 } = outage;
  const service = await outage.service();
  const child = spawnNode({
    program: CHILD,
    programArgs: [client, pattern, String(everyMs)],
    nodeArgs: preload ? PRELOAD : [],
    env: service.env,
    ipc: true,
  });
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const messages: unknown[] = [];
  child.on('message', (message) => messages.push(message));
  const ended = once(child, 'exit');
  const dead = ended.then(() => false as const);
  const tell = (message: string) => {
    if (child.connected) child.send(message);
  };
  try {
    if ((await Promise.race([once(child, 'message'), dead])) === false) throw new Error(`Never began:\n${stderr}`);
    await sleep(beforeMs);
    tell('away');
    await service.away();
    const from = performance.now();
    await sleep(awayMs);
    tell('back');
    const outMs = performance.now() - from;
    await service.back();
    const returnedAt = Date.now();
    await Promise.race([sleep(afterMs), dead]);
    tell('stop');
    await Promise.race([ended, sleep(PATIENCE_MS)]);
    const seen = messages[1] as
      (Omit<Seen, 'cpu'> & { lastFailureAt: number; cpuMs: number; lastError: string }) | undefined;
    if (seen === undefined) return { ...NOTHING_SEEN, said: stderr || 'It did not end.' };
    return {
      calls: seen.calls,
      failed: seen.failed,
      longestMs: seen.longestMs,
      lastFailureMs: Math.max(0, seen.lastFailureAt - returnedAt),
      blockedMs: Math.round(seen.blockedMs),
      cpu: seen.cpuMs / outMs,
      alive: true,
      said: seen.lastError,
    };
  } finally {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
    await service.remove();
  }
}

const NOTHING_SEEN = { calls: 0, failed: 0, longestMs: 0, lastFailureMs: 0, blockedMs: 0, cpu: 0, alive: false };
