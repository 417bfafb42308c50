import { setTimeout as delay } from 'node:timers/promises';
import { OPEN, CLOSED, HALF_OPEN } from '../../src/breaker/state.js';
import { Random } from '../support/random.js';
import type { Backend, ClientName } from './backends.js';
import { addUp, type Caller, type Calls, type Outcomes, type Report } from './caller.js';
import { TIMEOUT_MS, type Extent, type Fault, type Scene } from './faults.js';
import { MisbehavingProxy } from './misbehaving-proxy.js';

/**
 * Rules of the callers: the numbers of the presets, but for a circuit that has not long to wait, and in which a slot that is
 * lost stays lost.
 */
export const RULES = 'defaults: { openDuration: 100ms, halfOpenTimeout: 10m }\n';

const HEALTHY_CALLS = 10;
const MAX_CALLS = 1_000;
const GAP_MS = 25;
const SETTLES_WITHIN_MS = 10_000;

/** What came of one fault and one client. */
export interface Result {
  readonly fault: string;
  readonly client: ClientName;
  /** Calls that the application made. */
  readonly calls: number;
  readonly success: number;
  readonly failure: number;
  readonly ignored: number;
  readonly rejected: number;
  /** How often the circuit opened, the times after a failed probe included. */
  readonly opened: number;
  /** From the end of the fault until the circuit was closed. */
  readonly recoveryMs: number;
  /** What must not be. */
  readonly problems: readonly string[];
}

/** Has a client call a server with a fault, and then without, and looks whether everything adds up. */
export async function play(
  fault: Fault,
  client: ClientName,
  caller: Caller,
  backend: Backend,
  extent: Extent,
  seed: number,
): Promise<Result> {
  const random = new Random(seed);
  const host = fault.host ?? '127.0.0.1';
  const { proxy, name } = await newTarget(host, caller, backend, random);
  let total: Outcomes = {};
  const add = (outcomes: Outcomes) => {
    total = addUp(total, outcomes);
    return outcomes;
  };
  const calls = (options: Partial<Calls>) => caller.calls({ atOnce: 1, gap: GAP_MS, ...options });
  const callUntilOpened = () => calls({ name, times: MAX_CALLS, until: 'opened' });
  const scene: Scene = {
    caller,
    proxy,
    random,
    extent,
    call: () => calls({ forMs: extent.faultMs, atOnce: extent.atOnce }),
    callUntilOpened,
  };
  const healthy = (gap = 0) => calls({ times: HEALTHY_CALLS, atOnce: 2, gap });
  const circuit = fault.unnoticedBy?.includes(client) ? 'either' : fault.circuit;
  const open = () => caller.open(client, { host, port: proxy.port, timeout: TIMEOUT_MS, ...backend.options });

  const problems: string[] = [];
  // Not all of them: a machine that is busy with other things makes calls wait too long without any fault.
  const expectAnswers = (when: string, { ok = 0 }: Outcomes) => {
    if (ok === 0) problems.push(`${when}, no call was answered`);
  };
  try {
    if (!fault.fromTheStart) {
      await open();
      expectAnswers('before the fault', add(await healthy()));
    }
    await fault.begin?.(scene);
    if (fault.fromTheStart) await open();
    add(await fault.run(scene));
    // On a slow machine, fewer calls have failed by now than it takes.
    if (circuit === 'opens') add(await callUntilOpened());

    const before = await caller.report(name);
    await fault.end?.(scene);
    await proxy.behave('pass');
    const endedAt = performance.now();
    add(await calls({ name, times: MAX_CALLS, until: 'closed' }));
    const recoveryMs = performance.now() - endedAt;
    // A client may wait a moment before it connects again.
    expectAnswers('after the fault', add(await healthy(GAP_MS)));
    const after = await settled(caller, name);
    return { fault: fault.name, client, recoveryMs, ...judge(circuit, total, before, after, problems) };
  } finally {
    await caller.close();
    await proxy.stop();
  }
}

/** A server whose breaker has counted nothing yet: the system may give a port out again that an earlier fault had. */
async function newTarget(host: string, caller: Caller, backend: Backend, random: Random) {
  for (;;) {
    const proxy = await MisbehavingProxy.start(backend.port, random, backend.errorAnswer);
    const name = `${backend.scheme}://${host}:${proxy.port}${backend.path}`;
    if ((await caller.report(name)).stats === undefined) return { proxy, name };
    await proxy.stop();
  }
}

/** Has a client make its first calls, which take longer than any after. */
export async function warmUp(client: ClientName, caller: Caller, backend: Backend): Promise<void> {
  await caller.open(client, { host: '127.0.0.1', port: backend.port, timeout: 10 * TIMEOUT_MS, ...backend.options });
  await caller.calls({ times: HEALTHY_CALLS, atOnce: 2, gap: 0 });
  await caller.close();
}

/** The counts once nothing is under way: some calls are settled by what comes after them, like the end of a socket. */
async function settled(caller: Caller, name: string): Promise<Report> {
  const until = performance.now() + SETTLES_WITHIN_MS;
  for (;;) {
    const report = await caller.report(name);
    if (report.stats?.calls.inFlight === 0 || performance.now() > until) return report;
    await delay(20);
  }
}

function judge(
  circuit: Fault['circuit'],
  { ok = 0, error = 0, rejected: refused = 0, hangs = 0 }: Outcomes,
  before: Report,
  { stats, transitions, evidence, troubles, names }: Report,
  problems: string[],
): Omit<Result, 'fault' | 'client' | 'recoveryMs'> {
  if (stats === undefined) throw new Error(`No breaker was made; there are ${names.join(', ')}`);
  const { success, failure, ignored, rejected, inFlight } = stats.calls;
  const calls = ok + error + refused + hangs;
  const counted = success + failure + ignored + rejected;
  const opened = (transitions[CLOSED * 3 + OPEN] ?? 0) + (transitions[HALF_OPEN * 3 + OPEN] ?? 0);
  const wrong = (text: string) => problems.push(text);

  for (const trouble of troubles) wrong(trouble);
  if (hangs > 0) wrong(`${hangs} calls hang`);
  if (inFlight !== 0) wrong(`${inFlight} calls are still in flight`);
  if (counted - evidence !== calls) wrong(`${calls} calls were made, ${counted} counted, ${evidence} of them no calls`);
  if (refused !== rejected) wrong(`${refused} calls were rejected, ${rejected} counted as that`);
  // ioredis sends a command again whose connection was lost: a failure, and an answer to the caller.
  if (success + failure < ok) wrong(`${ok} calls were answered, only ${success + failure} counted`);
  if (stats.state !== 'closed') wrong(`the circuit is ${stats.state}`);
  if (circuit === 'opens' && opened === 0) wrong('the circuit has not opened');
  if (circuit === 'stays closed' && opened > 0) wrong('the circuit has opened for what is no fault of the target');
  if (circuit === 'stays closed' && ignored === 0) wrong('the fault has not reached a single call');
  if (before.stats === undefined) wrong('there was no breaker during the fault');
  return { calls, success, failure, ignored, rejected, opened, problems };
}
