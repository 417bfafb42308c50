/** Measures one contender in one scenario, in a process of its own, and prints the result as JSON. */
import { CONTENDERS, type Call } from './contenders.js';
import { spread } from './spread.js';

export type Scenario = 'success' | 'success, 100 at once' | 'failure' | 'rejected';

export interface Measurement {
  readonly nanoseconds: number;
  readonly bytes: number;
}

const ROUNDS = 10;
const ROUND_MS = 25;
// Of turns with rejections, fewer than we let go before we hold them back, and what gives as many back.
const TURNS_OF_REJECTIONS = 40;
const REST_MS = 5 * TURNS_OF_REJECTIONS + 20;
const WARM_UP_MS = 250;
const AT_ONCE = 100;
// Within one turn of the event loop; then it turns.
const BURST = 32;

async function main(): Promise<void> {
  const [scenario, name] = process.argv.slice(2) as [Scenario, string];
  const contender = CONTENDERS.find((candidate) => candidate.name === name)!;
  const call =
    scenario === 'rejected'
      ? await contender.rejecting()
      : await contender.guard(scenario === 'failure' ? failing : succeeding);
  const turn = turnOf(scenario, call);
  const callsPerTurn = scenario === 'success, 100 at once' ? AT_ONCE : scenario === 'rejected' ? BURST : 1;

  const measure = scenario === 'rejected' ? ofRejections : nanosecondsOf;
  await runFor(WARM_UP_MS, turn);
  // The fastest of several short rounds, since other work on the machine only adds time.
  let nanoseconds = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    nanoseconds = Math.min(nanoseconds, (await measure(turn)) / callsPerTurn);
  }
  const bytes = (await bytesPerTurn(turn, Math.ceil(2_000 / callsPerTurn))) / callsPerTurn;
  process.stdout.write(JSON.stringify({ nanoseconds, bytes } satisfies Measurement));
  // The timers of some contenders would keep the process alive.
  process.exit();
}

const succeeding = async () => 1;
const failing = async () => {
  throw new Error('dead');
};

function turnOf(scenario: Scenario, call: Call): () => Promise<unknown> {
  switch (scenario) {
    case 'success':
      return call;
    case 'success, 100 at once':
      return () => Promise.all(Array.from({ length: AT_ONCE }, () => call()));
    case 'rejected':
      return async () => {
        for (let index = 0; index < BURST; index++) await rejected(call, scenario);
        await new Promise((resolve) => setImmediate(resolve));
      };
    default:
      return () => rejected(call, scenario);
  }
}

async function rejected(call: Call, scenario: Scenario): Promise<void> {
  try {
    await call();
  } catch {
    return;
  }
  throw new Error(`a call that should have been rejected was not: ${scenario}`);
}

async function nanosecondsOf(turn: () => Promise<unknown>): Promise<number> {
  const { turns, milliseconds } = await runFor(ROUND_MS, turn);
  return (milliseconds * 1e6) / turns;
}

/** CPU time of one turn with rejections, of so few that none is held back. */
async function ofRejections(turn: () => Promise<unknown>): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const before = process.cpuUsage();
  for (let index = 0; index < TURNS_OF_REJECTIONS; index++) await turn();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1e3) / TURNS_OF_REJECTIONS;
}

async function runFor(ms: number, turn: () => Promise<unknown>): Promise<{ turns: number; milliseconds: number }> {
  const begun = performance.now();
  let turns = 0;
  let milliseconds = 0;
  // Batches that grow: a look at the clock must not weigh on a call of a hundred nanoseconds, and one batch of a slow
  // contender must not last for minutes.
  for (let batch = 1; milliseconds < ms; batch = Math.min(batch * 2, 500)) {
    for (let index = 0; index < batch; index++) await turn();
    turns += batch;
    milliseconds = performance.now() - begun;
  }
  return { turns, milliseconds };
}

/**
 * Bytes allocated, with the garbage collector kept away by a large young generation (`--max-semi-space-size`); the median
 * of several attempts, since it may come all the same.
 */
async function bytesPerTurn(turn: () => Promise<unknown>, turns: number): Promise<number> {
  const attempts: number[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    globalThis.gc!();
    const before = process.memoryUsage().heapUsed;
    for (let index = 0; index < turns; index++) await turn();
    attempts.push((process.memoryUsage().heapUsed - before) / turns);
  }
  return spread(attempts).median;
}

void main();
