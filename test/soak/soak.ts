import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { startBackends } from '../chaos/backends.js';
import { BEHAVIOURS, MisbehavingProxy } from '../chaos/misbehaving-proxy.js';
import { METRICS_ADDRESS, scrape, startApp } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { Random } from '../support/random.js';
import { serve, type Upstream } from '../support/servers.js';
import { attackPort, RestlessRules } from './attacks.js';

/** How many calls had which outcome, and what the process looked like at ten points on the way. */
export interface Stretch {
  readonly success: number;
  readonly failure: number;
  readonly ignored: number;
  readonly rejected: number;
  readonly transitions: number;
  readonly checkpoints: readonly { readonly heap: number; readonly handles: readonly string[] }[];
}

export interface Soaked {
  /** Calls through the guard, without a network. */
  readonly breakers: Stretch;
  /** Calls by http and fetch to real servers. */
  readonly real: Stretch;
  readonly scrapes: number;
  readonly seconds: number;
}

/** The calls to one kind of target, as breakers counted them and as their callers lived through them. */
export interface Accounts {
  readonly counted: Omit<Stretch, 'checkpoints'> & {
    /** Failures that were no calls: connections that were lost while nobody called. */
    readonly evidence: number;
  };
  readonly seen: {
    readonly calls: number;
    readonly answered: number;
    readonly failed: number;
    /** Given up by the caller. */
    readonly left: number;
    readonly rejected: number;
  };
}

/** What a process came to that was attacked all the while. */
export interface Attacked {
  readonly systems: Readonly<Record<'http' | 'redis' | 'postgresql', Accounts>>;
  readonly heap: number;
  readonly rss: number;
  /** The longest time for which the event loop did not turn, in milliseconds. */
  readonly longest: number;
  readonly attacks: number;
  readonly writes: number;
  /** How many times Redis or PostgreSQL began to misbehave. */
  readonly faults: number;
}

/**
 * Lets a process under the preload call faulty servers for so long, while its port is attacked and its rules file is written
 * anew. The process ends with an error where its counts are not those of its callers.
 */
export async function soakUnderAttack(seconds: number, seed: number): Promise<Attacked> {
  const random = new Random(seed);
  const upstreams = await Promise.all(Array.from({ length: ORIGINS }, () => startFaulty(random, 40)));
  const backends = await startBackends();
  const proxies = await Promise.all(
    (['ioredis', 'pg'] as const).map((client) => {
      const { port, errorAnswer } = backends.of(client);
      return MisbehavingProxy.start(port, random, errorAnswer);
    }),
  );
  const rules = new RestlessRules();
  const app = startApp({
    nodeArgs: [...PRELOAD, '--expose-gc', '--max-old-space-size=512'],
    env: {
      SECONDS: String(seconds),
      SEED: String(seed),
      ORIGINS: upstreams.map(({ origin }) => origin).join(' '),
      REDIS_PORT: String(proxies[0]!.port),
      PG_PORT: String(proxies[1]!.port),
      PG_OPTIONS: JSON.stringify(backends.of('pg').options),
      OTEL_BREAKER_CONFIG: rules.path,
      OTEL_BREAKER_ADMIN_TOKEN: 'a-token-that-nobody-guesses',
    },
    program: join(__dirname, 'caller.cjs'),
    ipc: true,
  });
  const address = (await app.prints('stderr', METRICS_ADDRESS))[1]!;
  app.child.send('go');
  let over = false;
  const isOver = () => over;
  const doings = Promise.all([
    attackPort(address, random, isOver),
    rules.write(random, isOver),
    ...proxies.map((proxy) => misbehave(proxy, random, isOver)),
  ]);
  const { code, stdout, stderr } = await app.ends();
  over = true;
  const [attacks, writes, ...faults] = await doings;
  rules.remove();
  for (const proxy of proxies) await proxy.stop();
  await backends.stop();
  await Promise.all(upstreams.map(({ stop }) => stop()));
  if (code !== 0) throw new Error(`The attacked process ended with ${code}:\n${stderr.slice(-4_000)}`);
  const { attacked } = JSON.parse(stdout) as { attacked: Omit<Attacked, 'attacks' | 'writes' | 'faults'> };
  return { ...attacked, attacks, writes, faults: faults.reduce((sum, count) => sum + count) };
}

/** Lets what is behind a proxy fail in every way now and then, until it is told to stop. @returns how many times */
async function misbehave(proxy: MisbehavingProxy, random: Random, isOver: () => boolean): Promise<number> {
  let count = 0;
  while (!isOver()) {
    await proxy.behave(random.pick(BEHAVIOURS));
    count++;
    await wait(100 + random.below(900));
    await proxy.behave('pass');
    await wait(200 + random.below(1_500));
  }
  return count;
}

const ORIGINS = 8;
const FAULTS = ['reset', 'status', 'cut off', 'silence'] as const;

/** A server of which 3 % of the answers go wrong, and after each 400, or as many as are given, ten more in a row. */
async function startFaulty(random: Random, wellFor = 400): Promise<Upstream> {
  let answers = 0;
  return serve((request, response) => {
    const isDown = answers++ % (wellFor + 10) >= wellFor;
    const fault = isDown ? 'status' : random.next() < 0.03 ? random.pick(FAULTS) : 'none';
    if (request.url === '/close') response.setHeader('connection', 'close');
    if (fault === 'none') response.end('body');
    else if (fault === 'reset') request.socket.destroy();
    else if (fault === 'status') response.writeHead(503).end('busy');
    else if (fault === 'cut off') {
      response.writeHead(200, { 'content-length': '100' }).write('part');
      setImmediate(() => request.socket.destroy());
    }
    // And silence: the caller loses its patience.
  });
}

/**
 * Lets a process under the preload make so many calls, scraped all the while. The process ends with an error where a count
 * is not what was done.
 */
export async function soak(calls: number, httpCalls: number, seed: number): Promise<Soaked> {
  const began = performance.now();
  const random = new Random(seed);
  const upstreams = await Promise.all(Array.from({ length: ORIGINS }, () => startFaulty(random)));
  const app = startApp({
    nodeArgs: [...PRELOAD, '--expose-gc'],
    env: {
      CALLS: String(calls),
      HTTP_CALLS: String(httpCalls),
      SEED: String(seed),
      ORIGINS: upstreams.map(({ origin }) => origin).join(' '),
    },
    program: join(__dirname, 'caller.cjs'),
    ipc: true,
  });
  const address = (await app.prints('stderr', METRICS_ADDRESS))[1]!;
  // Whatever a first scrape loads is there before the heap is looked at.
  await scrape(address);
  app.child.send('go');
  const ended = app.ends().then((result) => {
    state.running = false;
    return result;
  });
  const state = { running: true, scrapes: 0 };
  while (state.running) {
    try {
      await scrape(address);
      state.scrapes++;
      await new Promise((resolve) => setTimeout(resolve, 200));
    } catch (error) {
      // Right where it has ended by now, which may be heard later.
      const stillThere = new Promise((_, reject) => void setTimeout(reject, 10_000, error).unref());
      await Promise.race([ended, stillThere]);
    }
  }
  const { code, stdout, stderr } = await ended;
  await Promise.all(upstreams.map(({ stop }) => stop()));
  if (code !== 0) throw new Error(`The soaked process ended with ${code}:\n${stderr}`);
  const seconds = (performance.now() - began) / 1_000;
  return { ...(JSON.parse(stdout) as Pick<Soaked, 'breakers' | 'real'>), scrapes: state.scrapes, seconds };
}

/** By how much the heap grew between the first and the last third, in bytes: the first checkpoint still warms up. */
export function growth({ checkpoints }: Stretch): number {
  const [, ...settled] = checkpoints.map(({ heap }) => heap);
  return Math.min(...settled.slice(-3)) - Math.min(...settled.slice(0, 3));
}
