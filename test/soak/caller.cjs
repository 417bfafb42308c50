'use strict';
// A process under the preload that makes very many calls, some with faults, and gives account of them.
const assert = require('node:assert');
const http = require('node:http');
const { setTimeout: wait } = require('node:timers/promises');
const { configure, globalRegistry, isCircuitOpenError } = require('otel-breaker');
const { Guard } = require('../../dist/src/guard/guard.js');
const { getRuntime } = require('../../dist/src/runtime.js');

const { CALLS, HTTP_CALLS, SECONDS, SEED, ORIGINS, REDIS_PORT, PG_PORT, PG_OPTIONS } = process.env;
const CHECKPOINTS = 10;
const TARGETS = 300;
const CONCURRENCY = 32;

// Short, so that circuits open, probe and close many times.
configure({ defaults: { openDuration: 20 } });

/** Chance that repeats (mulberry32), as test/support/random.ts has it. */
let state = Number(SEED);
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

const unhandled = [];
process.on('unhandledRejection', (error) => unhandled.push(String(error)));

async function measure() {
  for (let time = 0; time < 3; time++) {
    globalThis.gc();
    await wait(1);
  }
  // Sockets that are closing and what is to come in a moment are no leak: those that stay would keep this waiting.
  while (process.getActiveResourcesInfo().some((kind) => /^(TCPSocketWrap|Immediate|Timeout)$/.test(kind)))
    await wait(5);
  return { heap: process.memoryUsage().heapUsed, handles: process.getActiveResourcesInfo().sort() };
}

/** What all breakers counted, together, or those of one system. */
function counted(system) {
  const sum = { success: 0, failure: 0, ignored: 0, rejected: 0, inFlight: 0 };
  let opened = 0;
  for (const breaker of globalRegistry) {
    if (system !== undefined && breaker.labels.system !== system) continue;
    const { calls, transitionCount } = breaker.stats();
    for (const key of Object.keys(sum)) sum[key] += calls[key];
    opened += transitionCount;
  }
  return { ...sum, transitions: opened };
}

/** Calls through the guard, as instrumentations make them, over targets of all kinds. */
async function soakBreakers() {
  const { guard } = getRuntime();
  const targets = Array.from({ length: TARGETS }, (_, index) => {
    const host = `host-${index}`;
    const kinds = [
      { system: 'http', scheme: 'https', host, port: 443 },
      { system: 'redis', scheme: 'redis', host, port: 6379 },
      { system: 'postgresql', scheme: 'postgresql', host, port: 5432, database: 'orders' },
    ];
    return { target: kinds[index % 3], down: 0 };
  });
  const expected = { success: 0, failure: 0, ignored: 0, rejected: 0, inFlight: 0 };
  const inFlight = [];
  const settle = ([permit, outcome]) => {
    expected.inFlight--;
    expected[outcome]++;
    if (outcome === 'failure') permit.failure(new Error('down'));
    else if (outcome === 'success') permit.success();
    else permit.ignore();
  };
  const checkpoints = [];
  const total = Number(CALLS);
  for (let call = 0; call < total; call++) {
    const one = targets[Math.floor(random() * TARGETS)];
    // 3 % of faults for themselves, and 2 % in outages of 20 calls.
    if (one.down === 0 && random() < 0.001) one.down = 20;
    const admission = guard.enter(one.target);
    if (admission instanceof Error) expected.rejected++;
    else {
      const faulty = one.down > 0 ? one.down-- > 0 : random() < 0.03;
      expected.inFlight++;
      inFlight.push([admission, faulty ? 'failure' : random() < 0.02 ? 'ignored' : 'success']);
      // Some take long: their circuit may be another one by then.
      if (inFlight.length > 500) settle(inFlight.splice(random() < 0.9 ? inFlight.length - 1 : 0, 1)[0]);
    }
    if (call % 200 === 0) await new Promise((resolve) => setImmediate(resolve));
    if ((call + 1) % (total / CHECKPOINTS) === 0) {
      const { transitions, ...now } = counted();
      assert.deepStrictEqual(now, expected);
      assert.strictEqual(now.success + now.failure + now.ignored + now.rejected + now.inFlight, call + 1);
      checkpoints.push({ ...(await measure()), transitions });
    }
  }
  inFlight.splice(0).forEach(settle);
  const result = counted();
  assert.strictEqual(result.inFlight, 0);
  return { ...result, checkpoints };
}

/** Real calls by http and fetch, to servers that fail now and then. */
async function soakHttp() {
  globalRegistry.clear();
  const origins = ORIGINS.split(' ');
  const seen = { answered: 0, failed: 0, rejected: 0 };
  const isRejection = (error) => error?.code === 'ERR_CIRCUIT_OPEN' || error?.cause?.code === 'ERR_CIRCUIT_OPEN';
  const tell = (error) => {
    if (error === undefined) seen.answered++;
    else seen[isRejection(error) ? 'rejected' : 'failed']++;
  };
  let agent;
  const byHttp = (url) =>
    new Promise((resolve) => {
      const request = http.get(url, { agent, timeout: 200 }, (response) => {
        response.resume().on('error', () => {});
        response.on('close', () => resolve(response.complete ? undefined : new Error('cut off')));
      });
      request.on('timeout', () => request.destroy(new Error('timeout')));
      request.on('error', resolve);
    });
  const byFetch = async (url) => {
    try {
      await (await fetch(url, { signal: AbortSignal.timeout(200) })).text();
      return undefined;
    } catch (error) {
      return error;
    }
  };

  const total = Number(HTTP_CALLS);
  const checkpoints = [];
  for (let done = 0; done < total; done += total / CHECKPOINTS) {
    agent = new http.Agent({ keepAlive: true });
    let left = total / CHECKPOINTS;
    const caller = async () => {
      while (left-- > 0) {
        const origin = origins[Math.floor(random() * origins.length)];
        tell(await (random() < 0.5 ? byHttp(`${origin}/keep`) : byFetch(`${origin}/close`)));
        // As an application has time between its calls: else an open circuit would take nearly all of them.
        if (random() < 0.05) await wait(1);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, caller));
    agent.destroy();
    checkpoints.push({ ...(await measure()), transitions: counted().transitions });
  }
  const result = counted();
  assert.strictEqual(result.inFlight, 0);
  assert.strictEqual(result.success + result.failure + result.ignored + result.rejected, total);
  assert.strictEqual(result.rejected, seen.rejected);
  return { ...result, seen, checkpoints };
}

/** Redis and PostgreSQL by their clients: a way to make one call of each, and one to end them. */
function openDatabases() {
  const { Redis } = require('ioredis');
  const { Pool } = require('pg');
  const [host, timeout] = ['127.0.0.1', 200];
  const redis = new Redis({
    host,
    port: Number(REDIS_PORT),
    connectTimeout: timeout,
    commandTimeout: timeout,
    maxRetriesPerRequest: 1,
    retryStrategy: () => 20,
    reconnectOnError: null,
  });
  redis.on('error', () => {});
  const pool = new Pool({
    ...JSON.parse(PG_OPTIONS),
    host,
    port: Number(PG_PORT),
    // As many as there are callers: who waits in vain for the pool of its own process has made no call.
    max: CONCURRENCY,
    connectionTimeoutMillis: timeout,
    query_timeout: timeout,
  });
  pool.on('error', () => {});
  const errorOf = (call) =>
    call.then(
      () => undefined,
      (error) => error,
    );
  return {
    redis: () => errorOf(random() < 0.5 ? redis.get('key') : redis.set('key', 'a value')),
    postgresql: () => errorOf(pool.query('SELECT 1')),
    close: async () => {
      redis.disconnect();
      await pool.end();
    },
  };
}

/**
 * Real calls for so long, while others attack the port and write the rules anew. What callers lived through is counted here,
 * by nothing that the breakers count with.
 */
async function soakUnderAttack() {
  globalRegistry.clear();
  // A connection that is lost while no call waits is counted as well.
  let evidence = 0;
  const { evidence: original } = Guard.prototype;
  Guard.prototype.evidence = function (target) {
    const permit = original.call(this, target);
    if (!permit.settled) evidence++;
    return permit;
  };
  const origins = ORIGINS.split(' ');
  const until = performance.now() + Number(SECONDS) * 1_000;
  const newSeen = () => ({ calls: 0, answered: 0, failed: 0, left: 0, rejected: 0 });
  const seen = { http: newSeen(), redis: newSeen(), postgresql: newSeen() };
  let longest = 0;
  let last = performance.now();
  const turning = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 10);
  const agent = new http.Agent({ keepAlive: true });
  const byHttp = (options) =>
    new Promise((resolve) => {
      const request = http.get({ agent, timeout: 200, ...options }, (response) => {
        response.resume().on('error', () => {});
        response.on('close', () => resolve(response.complete ? undefined : new Error('cut off')));
      });
      request.on('timeout', () => request.destroy(new Error('timeout')));
      request.on('error', resolve);
      if (options.leaves) setTimeout(() => request.destroy(new Error('timeout of 5 ms')), 5);
    });
  const byFetch = async (url, ms) => {
    try {
      await (await fetch(url, { signal: AbortSignal.timeout(ms) })).text();
      return undefined;
    } catch (error) {
      return error;
    }
  };
  // What strangers choose: a name in Host, a path in absolute form through a gateway.
  const stranger = () => `h${Math.floor(random() * 10)}.example.com`;
  const databases = openDatabases();
  const ways = [
    ['http', ({ host, port }) => byHttp({ host, port, path: '/keep' })],
    ['http', ({ host, port }) => byHttp({ host, port, path: '/keep', headers: { host: stranger() } })],
    ['http', ({ host, port }) => byHttp({ host, port, path: `http://${stranger()}/keep` })],
    ['http', ({ host, port }) => byHttp({ host, port, path: '/keep', leaves: true })],
    ['http', ({ origin }) => byFetch(`${origin}/close`, 200)],
    ['http', ({ origin }) => byFetch(`${origin}/keep`, 10)],
    ['redis', databases.redis],
    ['postgresql', databases.postgresql],
  ];
  const caller = async () => {
    while (performance.now() < until) {
      const origin = origins[Math.floor(random() * origins.length)];
      const { hostname: host, port } = new URL(origin);
      const [system, call] = ways[Math.floor(random() * ways.length)];
      const lived = seen[system];
      lived.calls++;
      const error = await call({ origin, host, port });
      if (error === undefined) lived.answered++;
      else if (isCircuitOpenError(error)) lived.rejected++;
      else lived[/time(?:d )?out/i.test(`${error.name} ${error.message}`) ? 'left' : 'failed']++;
      await wait(random() < 0.3 ? 5 : 1);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, caller));
  clearInterval(turning);
  agent.destroy();
  await databases.close();
  await wait(500);
  const systems = {};
  for (const [system, lived] of Object.entries(seen)) {
    const result = counted(system);
    assert.strictEqual(result.inFlight, 0, system);
    assert.strictEqual(lived.answered + lived.failed + lived.left + lived.rejected, lived.calls, system);
    result.evidence = system === 'redis' ? evidence : 0;
    const calls = result.success + result.failure + result.ignored + result.rejected - result.evidence;
    assert.strictEqual(calls, lived.calls, system);
    // Who left before the rejection came has not heard of it.
    assert.ok(lived.rejected <= result.rejected && result.rejected <= lived.rejected + lived.left, system);
    systems[system] = { counted: result, seen: lived };
  }
  const { heap } = await measure();
  return { systems, heap, rss: process.memoryUsage().rss, longest: Math.round(longest) };
}

async function main() {
  if (Number(SECONDS) > 0) {
    const attacked = await soakUnderAttack();
    assert.deepStrictEqual(unhandled, []);
    console.log(JSON.stringify({ attacked }));
    return;
  }

  const breakers = await soakBreakers();
  const real = await soakHttp();
  assert.deepStrictEqual(unhandled, []);
  console.log(JSON.stringify({ breakers, real }));
}

process.once('message', () => {
  process.disconnect();
  // Not left to the listener above, which would end the process as if all were well.
  main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
});
