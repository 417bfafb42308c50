// A plain service, as the preload meets it: makes the calls that it is told over IPC, with one client, and says what
// became of each. It knows nothing of breakers but how to ask for their counts.
'use strict';
const dns = require('node:dns');
const fs = require('node:fs');
const http = require('node:http');
const { globalRegistry } = require('otel-breaker');
const { Guard } = require('../../dist/src/guard/guard.js');

// Longer than any client's own patience: whatever takes as long hangs.
const HANGS_AFTER_MS = 20_000;

const troubles = [];
process.on('unhandledRejection', (reason) => troubles.push(`unhandled rejection: ${String(reason)}`));
process.on('uncaughtException', (error) => troubles.push(`uncaught exception: ${error.stack}`));

// A connection that is lost while no call waits is counted as well.
let evidence = 0;
const { evidence: original } = Guard.prototype;
Guard.prototype.evidence = function (target) {
  const permit = original.call(this, target);
  if (!permit.settled) evidence++;
  return permit;
};

// There is no name server on the loopback interface that could fail.
const { lookup } = dns;
let dnsFails = false;
dns.lookup = (host, options, callback) => {
  if (!host.endsWith('.test')) return lookup(host, options, callback);
  if (dnsFails) {
    const error = Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), {
      code: 'ENOTFOUND',
      syscall: 'getaddrinfo',
      hostname: host,
    });
    return setImmediate(callback, error);
  }
  const address = '127.0.0.1';
  setImmediate(() => (options.all ? callback(null, [{ address, family: 4 }]) : callback(null, address, 4)));
};
// As grpc-js asks.
const { lookup: lookupByPromise } = dns.promises;
dns.promises.lookup = (host, options) =>
  host.endsWith('.test')
    ? new Promise((resolve, reject) =>
        dns.lookup(host, options, (error, found) => (error ? reject(error) : resolve(found))),
      )
    : lookupByPromise(host, options);

// As nodemailer asks at first, and then as everybody does.
for (const method of ['resolve4', 'resolve6']) {
  const { [method]: resolve } = dns.Resolver.prototype;
  dns.Resolver.prototype[method] = function (host, callback) {
    if (!host.endsWith('.test')) return resolve.call(this, host, callback);
    setImmediate(callback, Object.assign(new Error(`${method} ENOTFOUND ${host}`), { code: 'ENOTFOUND' }));
  };
}

/** Each makes one call and rejects where it failed; `close` gives back what it holds. */
const clients = {
  http({ host, port, timeout }) {
    const agent = new http.Agent({ keepAlive: true });
    const call = () =>
      new Promise((resolve, reject) => {
        const request = http.get({ host, port, path: '/', agent, timeout }, (response) => {
          response.on('error', reject);
          response.on('end', () =>
            response.statusCode < 400 ? resolve() : reject(new Error(`status ${response.statusCode}`)),
          );
          response.resume();
        });
        request.on('timeout', () => request.destroy(new Error('no answer in time')));
        request.on('error', reject);
      });
    return { call, close: () => agent.destroy() };
  },

  fetch({ host, port, timeout }) {
    const call = async () => {
      const response = await fetch(`http://${host}:${port}/`, { signal: AbortSignal.timeout(timeout) });
      await response.text();
      if (!response.ok) throw new Error(`status ${response.status}`);
    };
    return { call, close: () => {} };
  },

  undici({ host, port, timeout }) {
    const { Agent, request } = require('undici');
    const dispatcher = new Agent({ connect: { timeout } });
    const call = async () => {
      const { statusCode, body } = await request(`http://${host}:${port}/`, {
        dispatcher,
        signal: AbortSignal.timeout(timeout),
      });
      await body.text();
      if (statusCode >= 400) throw new Error(`status ${statusCode}`);
    };
    return { call, close: () => dispatcher.destroy() };
  },

  ioredis: (options) => redisClient('ioredis', options),
  ioredis5: (options) => redisClient('ioredis5', options),

  redis({ host, port, timeout }) {
    const { createClient } = require('redis');
    // Its only limit on an answer is one of the socket.
    const socket = { host, port, connectTimeout: timeout, socketTimeout: timeout, reconnectStrategy: () => 20 };
    const redis = createClient({ socket, commandOptions: { timeout }, pingInterval: timeout / 2 });
    redis.on('error', () => {});
    void redis.connect().catch(() => {});
    return { call: () => redis.get('key'), close: () => redis.destroy() };
  },

  mysql2({ host, port, timeout, user, database }) {
    const { createPool } = require('mysql2/promise');
    const pool = createPool({ host, port, user, database, connectionLimit: 32, connectTimeout: timeout });
    return { call: () => pool.query({ sql: 'SELECT 1', timeout }), close: () => pool.end() };
  },

  mongodb({ host, port, timeout }) {
    const { MongoClient } = require('mongodb');
    const make = () =>
      new MongoClient(`mongodb://${host}:${port}/?directConnection=true`, {
        serverSelectionTimeoutMS: timeout,
        connectTimeoutMS: timeout,
        socketTimeoutMS: timeout,
        heartbeatFrequencyMS: 500,
        minHeartbeatFrequencyMS: 20,
        retryReads: false,
      });
    let mongo = make();
    const call = async () => {
      try {
        await mongo.db('shop').collection('orders').findOne();
      } catch (error) {
        // A client whose first connection could not be made stays closed.
        if (error.name === 'MongoTopologyClosedError') mongo = make();
        throw error;
      }
    };
    return { call, close: () => mongo.close() };
  },

  pg({ host, port, timeout, user, database }) {
    const { Pool } = require('pg');
    const pool = new Pool({
      host,
      port,
      user,
      database,
      max: 32,
      connectionTimeoutMillis: timeout,
      query_timeout: timeout,
    });
    pool.on('error', () => {});
    return { call: () => pool.query('SELECT 1'), close: () => pool.end() };
  },

  http2({ host, port, timeout }) {
    const http2 = require('node:http2');
    let session;
    const call = () => {
      if (session === undefined || session.closed || session.destroyed) {
        session = http2.connect(`http://${host}:${port}`).on('error', () => {});
      }
      return new Promise((resolve, reject) => {
        const stream = session.request({ ':path': '/' }, { signal: AbortSignal.timeout(timeout) }).resume();
        let status;
        stream.on('response', (headers) => (status = headers[':status'])).on('error', reject);
        stream.on('close', () => (status < 400 && stream.rstCode === 0 ? resolve() : reject(new Error('no answer'))));
      });
    };
    return { call, close: () => session?.destroy() };
  },

  nodemailer: (options) => mailClient(options, {}),
  'nodemailer-pool': (options) => mailClient(options, { pool: true }),

  grpc({ host, port, timeout }) {
    const { connect, ask } = require('../fixtures/grpc/echo.cjs')(require('@grpc/grpc-js'));
    // Tries to connect again as soon as the others, not after a second.
    const client = connect(`${host}:${port}`, {
      'grpc.initial_reconnect_backoff_ms': 20,
      'grpc.max_reconnect_backoff_ms': 20,
      'grpc.use_local_subchannel_pool': 1,
    });
    return { call: () => ask(client, 'ok', { deadline: Date.now() + timeout }), close: () => client.close() };
  },
};

function mailClient({ host, port, timeout }, options) {
  const { createTransport } = require('nodemailer');
  const timeouts = {
    dnsTimeout: timeout,
    connectionTimeout: timeout,
    greetingTimeout: timeout,
    socketTimeout: timeout,
  };
  const transport = createTransport({ host, port, ...timeouts, ...options });
  transport.on('error', () => {});
  const message = { from: 'us@example.com', to: 'you@example.com', text: 'a message' };
  return { call: () => transport.sendMail(message), close: () => transport.close() };
}

function redisClient(package_, { host, port, timeout }) {
  const { Redis } = require(package_);
  const redis = new Redis({
    host,
    port,
    connectTimeout: timeout,
    commandTimeout: timeout,
    maxRetriesPerRequest: 1,
    retryStrategy: () => 20,
    reconnectOnError: null,
  });
  redis.on('error', () => {});
  return { call: () => redis.get('key'), close: () => redis.disconnect() };
}

let client;
let descriptors = [];

const orders = {
  open(order) {
    client = clients[order.client](order);
  },

  /** Makes calls, some at once, until there were enough of them, time is up, or the circuit is closed, or has been open. */
  async calls({ name, times = Infinity, forMs = Infinity, atOnce, gap, until }) {
    const end = performance.now() + forMs;
    let left = times;
    const outcomes = {};
    const note = (outcome) => (outcomes[outcome] = (outcomes[outcome] ?? 0) + 1);
    const caller = async () => {
      while (left-- > 0 && performance.now() < end) {
        note(await outcomeOf(client.call));
        if (until === 'closed' && globalRegistry.get(name)?.state === 'closed') break;
        // One that has closed again has been open, too.
        if (until === 'opened' && globalRegistry.get(name)?.stats().transitionCount > 0) break;
        if (gap > 0) await new Promise((resolve) => setTimeout(resolve, gap));
      }
    };
    await Promise.all(Array.from({ length: atOnce }, caller));
    return outcomes;
  },

  /** Does not let the event loop turn while calls wait for their answers. */
  async block({ times, ms }) {
    const outcomes = {};
    const calls = Array.from({ length: times }, () => outcomeOf(client.call));
    // Their requests leave; the answers will come while nobody can listen.
    await new Promise((resolve) => setTimeout(resolve, 30));
    // From here, timers come before anything that has arrived; from a timer, they would come after.
    await new Promise((resolve) => setImmediate(resolve));
    const until = performance.now() + ms;
    while (performance.now() < until);
    for (const outcome of await Promise.all(calls)) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    return outcomes;
  },

  /** Opens files until the process may open no more, or closes them again. */
  async descriptors({ exhaust }) {
    if (!exhaust) {
      for (const descriptor of descriptors.splice(0)) fs.closeSync(descriptor);
      return;
    }
    // Until none comes back any more: sockets that were in use a moment ago take a while to be given up.
    for (let opened = 1; opened > 0; await new Promise((resolve) => setTimeout(resolve, 100))) {
      const before = descriptors.length;
      try {
        for (;;) descriptors.push(fs.openSync('/dev/null'));
      } catch (error) {
        if (error.code !== 'EMFILE') throw error;
      }
      opened = descriptors.length - before;
    }
  },

  dns({ fails }) {
    dnsFails = fails;
  },

  stats({ name }) {
    const breaker = globalRegistry.get(name);
    return {
      stats: breaker?.stats(),
      transitions: breaker?.transitions ?? [],
      evidence,
      troubles,
      names: globalRegistry.listNames(),
    };
  },

  async close() {
    await client.close();
    client = undefined;
    evidence = 0;
  },

  end() {
    setImmediate(() => process.disconnect());
  },
};

async function outcomeOf(call) {
  let timer;
  const hangs = new Promise((resolve) => (timer = setTimeout(resolve, HANGS_AFTER_MS, 'hangs')));
  const outcome = await Promise.race([
    call().then(
      () => 'ok',
      (error) => (isRejection(error) ? 'rejected' : 'error'),
    ),
    hangs,
  ]);
  clearTimeout(timer);
  return outcome;
}

function isRejection(error) {
  return require('otel-breaker').isCircuitOpenError(error);
}

// What is first used when no file can be opened any more must have been loaded before.
const PACKAGES = {
  http: 'node:http',
  fetch: 'node:http',
  grpc: '@grpc/grpc-js',
  http2: 'node:http2',
  'nodemailer-pool': 'nodemailer',
};
for (const name of process.argv.slice(2)) require(PACKAGES[name] ?? name);

process.on('message', async ({ id, order, ...arguments_ }) => {
  try {
    process.send({ id, result: (await orders[order](arguments_)) ?? null });
  } catch (error) {
    process.send({ id, error: error.stack });
  }
});
process.send({ ready: true });
