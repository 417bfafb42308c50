import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PRELOAD, spawnNode } from '../support/child.js';
import type { Row } from './outage.js';

export const CALLERS = 100;
/** How long a caller pauses after each call, whatever became of it. */
export const PAUSE_MS = 200;

/** Who calls: with the preload, without, or with it and `whenOpen: throw` in a rule. */
export type Arm = 'without' | 'with' | 'throw';

/** What the callers of one process saw of a server that was killed under them. */
export interface Report {
  readonly calls: number;
  readonly answered: number;
  readonly failed: number;
  /** Of those that failed, calls with our error along `cause`. */
  readonly rejected: number;
  readonly unhandled: number;
  readonly failedConnects: number;
  readonly longestMs: number;
  /**
   * The most callers that had waited for over a second, in samples of 100 ms while the server was away: from the moment on at
   * which a call has failed after the whole patience of its client, with `whenOpen: throw` from the opening on; -1 where there
   * was no such moment.
   */
  readonly hanging: number;
  /** Milliseconds from the kill to the last of these samples with more than five such callers; -1 where there was none. */
  readonly hangingUntilMs: number;
  /** Milliseconds from the kill to the opening of the circuit; -1 where it stayed closed. */
  readonly openedMs: number;
  /** Milliseconds from the return to the first answer; -1 where none came. */
  readonly firstAnswerMs: number;
  /** Milliseconds from the return to the last failure; -1 where none came later. */
  readonly lastFailureMs: number;
  /** Callers that waited still in the end. */
  readonly unfinished: number;
  /** By outcome, as `stats()` counts them; evidence is what was counted as a failure without being a call. Empty without us. */
  readonly counted: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  /** What the circuits did, and when. */
  readonly transitions: readonly string[];
}

export interface Kill {
  readonly row: Row;
  readonly arms: readonly Arm[];
  readonly awayMs: number;
  /** Milliseconds for which calls are made before; default 2,000. */
  readonly beforeMs?: number;
  /** At most so many milliseconds after the return; less where calls are answered and none has failed for 2 s. */
  readonly afterMs: number;
}

const CHILD = join(__dirname, 'callers.cjs');
const THROW = 'defaults: { whenOpen: throw }\n';

/** Kills a server under the callers of some processes, and starts it again. @returns what they saw, in the order of the arms */
export async function runKill({ row, arms, awayMs, beforeMs = 2_000, afterMs }: Kill): Promise<Report[]> {
  const folder = await mkdtemp(join(tmpdir(), 'killed-'));
  const rules = join(folder, 'rules.yaml');
  await writeFile(rules, THROW);
  const service = await row.service();
  const processes = arms.map((arm) =>
    callersOf(row, arm, { ...service.env, ...(arm === 'throw' && { OTEL_BREAKER_CONFIG: rules }) }),
  );
  const tell = (message: string | number) => processes.forEach((it) => it.child.send(message));
  try {
    await Promise.all(processes.map((it) => it.message()));
    tell('begin');
    await sleep(beforeMs);
    tell('away');
    await service.away();
    await sleep(awayMs);
    await service.back();
    const reports = processes.map((it) => it.message());
    tell(afterMs);
    return (await Promise.all(reports)) as Report[];
  } finally {
    for (const { child } of processes) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await service.remove();
    await rm(folder, { recursive: true });
  }
}

function callersOf({ client, underCallers }: Row, arm: Arm, env: NodeJS.ProcessEnv) {
  const child = spawnNode({
    program: CHILD,
    programArgs: [client, ...[CALLERS, PAUSE_MS, underCallers?.patienceMs ?? 0, arm === 'throw'].map(String)],
    nodeArgs: arm === 'without' ? [] : PRELOAD,
    env: { OTEL_LOG_LEVEL: 'none', ...env },
    ipc: true,
  });
  let stderr = '';
  child.stdout!.resume();
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = once(child, 'close');
  const message = async (): Promise<unknown> => {
    const [answer] = (await Promise.race([once(child, 'message'), ended.then(() => [])])) as unknown[];
    if (answer === undefined) throw new Error(`Callers of ${client} ended with ${child.exitCode}:\n${stderr}`);
    return answer;
  };
  return { child, message };
}

/** By how much the counts of the breakers differ from what the callers saw; 0 where they add up. */
export function miscounted({ calls, counted }: Report): number {
  const { success, failure, ignored, rejected, inFlight, evidence } = counted;
  return success! + failure! + ignored! + rejected! + inFlight! - evidence! - calls;
}
