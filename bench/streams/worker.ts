/** Makes a block of calls through one client on streams when its parent asks, and answers with what they cost. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MAKE_CLIENT, type Client, type StreamClient } from './clients.js';
import { INSTALL_FLOOR } from './floor.js';
import { traceEverything } from './tracing.js';

/** What is around the client. */
export interface Surroundings {
  /** The folder of a build of otel-breaker, the floor, or nothing. */
  readonly around: string;
  readonly traced: boolean;
}

/** What one call of a block has cost. */
export interface Cost {
  /** CPU time of the process. */
  readonly microseconds: number;
  /** Allocated; NaN where the garbage collector came in between. */
  readonly bytes: number;
}

const COLLECTIONS = 20;

async function main(): Promise<void> {
  const [client, around, traced] = process.argv.slice(2) as [StreamClient, string, string];
  if (traced === 'traced') traceEverything();
  // As under a preload, before the client is there.
  if (around !== 'nothing' && around !== 'floor') require(`${around}/src/register.js`);
  if (around === 'floor' && client !== 'fetch') INSTALL_FLOOR[client]();
  const made = await MAKE_CLIENT[client]();
  if (around === 'floor' && client === 'fetch') {
    INSTALL_FLOOR.fetch((globalThis as Record<symbol, unknown>)[Symbol.for('undici.globalDispatcher.1')]);
  }
  await collectWhileLearning(made);
  process.on('message', () => {
    void measure(made).then((cost) => process.send!(cost));
  });
  process.send!('ready');
}

/**
 * A full garbage collection takes the shapes of objects that nobody has just then. One that comes while V8 learns them leaves
 * code that is slow for good: `process.nextTick`, at first, costs a call of fetch 5 µs more. Whether one comes in a process that
 * does nothing else depends on how much it has loaded; in a process of an application some do, so here they come in all arms.
 */
async function collectWhileLearning(client: Client): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let round = 0; round < COLLECTIONS; round++) {
    await makeCalls(client, client.callers);
    collect();
  }
}

async function measure(client: Client): Promise<Cost> {
  const { callsPerBlock } = client;
  const before = process.cpuUsage();
  await makeCalls(client, callsPerBlock);
  const { user, system } = process.cpuUsage(before);
  return { microseconds: (user + system) / callsPerBlock, bytes: await bytesPerCall(client) };
}

/** Only with a young generation that is large enough for a block, so that nothing is collected within it. */
async function bytesPerCall(client: Client): Promise<number> {
  if (globalThis.gc === undefined) return NaN;
  const calls = Math.min(client.callsPerBlock, 2_000);
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  await makeCalls(client, calls);
  return (process.memoryUsage().heapUsed - before) / calls;
}

async function makeCalls({ callers, call }: Client, calls: number): Promise<void> {
  let left = calls;
  const caller = async () => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

void main();
