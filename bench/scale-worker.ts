/** Measures what many breakers, many names and many rules cost, in a process of its own, and prints the result as JSON. */
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { createHook } from 'node:async_hooks';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { createServer, get, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { CONTENDERS, publish } from './contenders.js';
import { spread } from './spread.js';

type OtelBreaker = typeof import('../src/index.js');
const { CircuitBreakerRegistry } = require('../dist/src/index.js') as OtelBreaker;
const { Guard } = require('../dist/src/guard/guard.js') as typeof import('../src/guard/guard.js');
const { sendShared } = require('../dist/src/console/respond.js') as typeof import('../src/console/respond.js');
const { SharedAnswer } =
  require('../dist/src/console/shared-answer.js') as typeof import('../src/console/shared-answer.js');
const { RuleSet } = require('../dist/src/rules/rule-set.js') as typeof import('../src/rules/rule-set.js');

export interface Memory {
  readonly bytes: number;
  readonly timers: number;
}

export interface Scale {
  /** Bytes of a breaker with all metrics that was called in two tenths of its window. */
  readonly usedBytes: number;
  /** Nanoseconds to find a breaker by its name among 100,000, at random. */
  readonly registryLookUp: number;
  /** Nanoseconds from a target to its permit, with a thousand rules and as many hosts in use. */
  readonly guardEnter: number;
  /** Nanoseconds of the least of that: the same hosts found in a Map, two looks at the clock, a count. */
  readonly lookUpFloor: number;
  /** Nanoseconds to match a new target that none of a thousand rules matches. */
  readonly ruleMiss: number;
  /** Milliseconds of CPU to read the numbers of a thousand breakers … */
  readonly collect: number;
  /** … and to answer a scrape of them. */
  readonly page: number;
  /** The longest turn of the event loop meanwhile, in milliseconds, in the median of several scrapes. */
  readonly longestTurn: number;
  /** The longest one within the two seconds after the first line of an application under the preload. */
  readonly startingTurn: number;
  /** Nanoseconds of one `record` of a histogram of OpenTelemetry's SDK, with the labels of a breaker. */
  readonly histogramRecord: number;
}

export type LookUps = Pick<Scale, 'guardEnter' | 'lookUpFloor' | 'ruleMiss' | 'registryLookUp'>;

const BREAKERS = 10_000;
const NAMES = 100_000;
const RULES = 1_000;
const SCRAPED = 1_000;

async function memoryOf(contender: string): Promise<Memory> {
  const { idle } = CONTENDERS.find(({ name }) => name === contender)!;
  let timers = 0;
  const hook = createHook({ init: (_id, type) => void (type === 'Timeout' && timers++) }).enable();
  const names = namesOfBreakers();
  const kept: unknown[] = new Array<unknown>(BREAKERS);
  kept.fill(idle!('first'));
  timers = 0;
  const before = await heap();
  for (let index = 0; index < BREAKERS; index++) kept[index] = idle!(names[index]!);
  const bytes = ((await heap()) - before) / kept.length;
  hook.disable();
  return { bytes, timers: timers / BREAKERS };
}

async function bytesInUse(): Promise<number> {
  const registry = new CircuitBreakerRegistry();
  publish(registry, 'own exporter');
  const names = namesOfBreakers();
  registry.getOrCreate('first').acquire().success();
  const before = await heap();
  for (const name of names) registry.getOrCreate(name).acquire().success();
  await new Promise((resolve) => setTimeout(resolve, 3_200));
  for (const name of names) registry.getOrCreate(name).acquire().success();
  const bytes = ((await heap()) - before) / names.length;
  // Asked last, or it would be gone by now.
  return registry.size > names.length ? bytes : NaN;
}

/** Each in one piece, as a URL has it: put together and not yet read, a text is larger, and would shrink while we measure. */
function namesOfBreakers(): string[] {
  const names = Array.from({ length: BREAKERS }, (_, index) => `http://service-${index}.example.com`);
  return JSON.parse(JSON.stringify(names)) as string[];
}

async function heap(): Promise<number> {
  // What was loaded before must not count against us, nor for us: V8 throws code away that nothing has called through several
  // collections, and buffers once the loop has turned.
  for (let collection = 0; collection < 10; collection++) {
    globalThis.gc!();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function scale(): Promise<Omit<Scale, 'usedBytes' | keyof LookUps>> {
  return {
    ...(await scrape()),
    startingTurn: startingTurn(),
    histogramRecord: histogramRecord(),
  };
}

function registryLookUp(): number {
  const registry = new CircuitBreakerRegistry();
  const names = Array.from({ length: NAMES }, (_, index) => `http://service-${index}.example.com`);
  for (const name of names) registry.getOrCreate(name);
  const shuffled = names.map((_, index) => names[(index * 7_919) % NAMES]!);
  return fastest(shuffled, (name) => registry.get(name));
}

function ruleMatching(): Omit<LookUps, 'registryLookUp'> {
  const rules = Array.from({ length: RULES }, (_, index) => ({
    match: { host: index % 2 === 0 ? `service-${index}.example.com` : `*.zone-${index}.example.com` },
    failureThreshold: 3 + (index % 5),
  }));
  const config = { maxBreakers: 10 * RULES, rules };
  const set = new RuleSet([{ origin: 'bench', config }]);
  const targets = (host: (index: number) => string) =>
    Array.from({ length: RULES }, (_, index) => {
      return { system: 'http', scheme: 'http', host: host(index), port: 80 } as const;
    });
  const guard = new Guard(new CircuitBreakerRegistry(), set);
  const inUse = targets((index) => (index % 2 === 0 ? `service-${index}.example.com` : `a.zone-${index}.example.com`));
  const counts = new Map(inUse.map(({ host }) => [host, { calls: 0, ms: 0 }]));
  const now = performance.now.bind(performance);
  return {
    guardEnter: fastest(inUse, (target) => {
      const permit = guard.enter(target);
      if ('success' in permit) permit.success();
    }),
    lookUpFloor: fastest(inUse, ({ host }) => {
      const count = counts.get(host)!;
      const begun = now();
      count.calls++;
      count.ms += now() - begun;
    }),
    ruleMiss: fastest(
      targets((index) => `host-${index}.elsewhere.net`),
      (target) => set.resolve(target),
    ),
  };
}

/** Nanoseconds for one of the items, in the fastest of several passes. */
function fastest<T>(items: readonly T[], act: (item: T) => unknown): number {
  let best = Infinity;
  // Kept, or V8 would remove the code that computes it.
  let found: unknown;
  // With 30, V8 was still compiling: the look-up of a target seemed to take half as much again.
  for (let pass = 0; pass < 300; pass++) {
    const begun = process.hrtime.bigint();
    for (const item of items) found = act(item);
    best = Math.min(best, Number(process.hrtime.bigint() - begun) / items.length);
  }
  return found === items ? NaN : best;
}

async function scrape(): Promise<Pick<Scale, 'collect' | 'page' | 'longestTurn'>> {
  const registry = new CircuitBreakerRegistry();
  const { metrics, page } = publish(registry, 'own exporter');
  for (let index = 0; index < SCRAPED; index++) {
    const breaker = registry.getOrCreate(`http://service-${index}.example.com`);
    breaker.labels = { system: 'http', server_address: `service-${index}.example.com`, server_port: 80 };
    breaker.acquire().success();
    breaker.acquire().failure(new Error('down'));
  }
  const text = new SharedAnswer(() => page.write());
  const server = createServer((_, response) => sendShared(response, 'The page', 'text/plain', text));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const measured = {
    collect: await cheapest(() => Promise.resolve(metrics.numbers())),
    page: await cheapest(() => bodyOf(`http://127.0.0.1:${port}/metrics`)),
    longestTurn: await longestTurn(() => bodyOf(`http://127.0.0.1:${port}/metrics`)),
  };
  server.close();
  return measured;
}

/** The longest time between two turns of the event loop while something is done, in the median of several rounds. */
async function longestTurn(act: () => Promise<unknown>): Promise<number> {
  const longest: number[] = [];
  for (let round = 0; round < 9; round++) {
    let done = false;
    let worst = 0;
    let last = performance.now();
    const turn = () => {
      const now = performance.now();
      worst = Math.max(worst, now - last);
      last = now;
      if (!done) setImmediate(turn);
    };
    setImmediate(turn);
    await act();
    done = true;
    longest.push(worst);
  }
  return spread(longest).median;
}

const WATCH_TURNS = `
  let last = performance.now(), worst = 0;
  const end = last + 2_000;
  (function turn() {
    const now = performance.now();
    worst = Math.max(worst, now - last);
    last = now;
    if (now < end) return setImmediate(turn);
    process.stdout.write(String(worst));
    process.exit();
  })();
`;

function startingTurn(): number {
  const env = { ...process.env, OTEL_EXPORTER_PROMETHEUS_PORT: '0', OTEL_LOG_LEVEL: 'error' };
  const register = join(__dirname, '../dist/src/register.js');
  const turns = Array.from({ length: 5 }, () =>
    Number(execFileSync(process.execPath, ['--require', register, '-e', WATCH_TURNS], { env, encoding: 'utf8' })),
  );
  return spread(turns).median;
}

function histogramRecord(): number {
  const provider = new MeterProvider({ readers: [new PrometheusExporter({ preventServerStart: true })] });
  const histogram = provider.getMeter('bench').createHistogram('duration', { unit: 's' });
  const labels = { name: 'http://api.example.com', system: 'http', server_address: 'api.example.com', server_port: 80 };
  return fastest(
    Array.from({ length: 10_000 }, (_, index) => index / 1e4),
    (seconds) => histogram.record(seconds, labels),
  );
}

/** Milliseconds of CPU in the cheapest of many rounds: an exporter is asked again and again. After ten, V8 still compiles. */
async function cheapest(act: () => Promise<unknown>): Promise<number> {
  let best = Infinity;
  for (let round = 0; round < 40; round++) {
    const before = process.cpuUsage();
    await act();
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1_000);
  }
  return best;
}

async function bodyOf(url: string): Promise<void> {
  const [response] = (await once(get(url), 'response')) as [IncomingMessage];
  await once(response.resume(), 'end');
}

async function answerTo(asked: string | undefined): Promise<unknown> {
  switch (asked) {
    case undefined:
      return scale();
    // In processes of their own: what memory is measured with has V8 throw away the code that times are measured of, and
    // after 100,000 breakers a look-up among 1,000 takes 130 to 310 ns rather than 95 to 120.
    case 'in use':
      return bytesInUse();
    case 'look-ups':
      return { ...ruleMatching(), registryLookUp: registryLookUp() };
    default:
      return memoryOf(asked);
  }
}

async function main(): Promise<void> {
  process.stdout.write(JSON.stringify(await answerTo(process.argv[2])));
  process.exit();
}

void main();
