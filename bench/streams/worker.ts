/** Makes calls through one client on streams when its parent asks, and answers with what one of them costs. */
import { MAKE_CLIENT, makeCalls, type Client, type StreamClient } from './clients.js';
import { INSTALL_FLOOR } from './floor.js';
import { traceEverything } from './tracing.js';

/** What is around the client. */
export interface Surroundings {
  /** The folder of a build of otel-breaker, the floor, or nothing. */
  readonly around: string;
  readonly traced: boolean;
}

/**
 * What the parent asks for: the CPU time of the process for each call of a block, in microseconds, or the bytes that are
 * allocated for each call of a tenth of one.
 */
export type Question = 'time' | 'bytes';

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
  process.on('message', (question: Question) => {
    const answer = question === 'time' ? microsecondsPerCall(made) : bytesPerCall(made);
    void answer.then((cost) => process.send!(cost));
  });
  process.send!('ready');
}

async function microsecondsPerCall(client: Client): Promise<number> {
  const { callsPerBlock } = client;
  const before = process.cpuUsage();
  await makeCalls(client, callsPerBlock);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / callsPerBlock;
}

/**
 * Of calls few enough for the young generation. None is collected by hand before: after a full collection V8 learns again what
 * it had learned of shapes that no live object has just then, and what it allocates for that is no part of a call.
 */
async function bytesPerCall(client: Client): Promise<number> {
  const calls = Math.ceil(client.callsPerBlock / 10);
  for (;;) {
    const before = process.memoryUsage().heapUsed;
    await makeCalls(client, calls);
    const bytes = process.memoryUsage().heapUsed - before;
    // Less than before: a collection came in between.
    if (bytes > 0) return bytes / calls;
  }
}

void main();
