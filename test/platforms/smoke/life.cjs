// The life of one breaker under the preload: a call succeeds, calls fail until the circuit opens, a call is rejected, and
// once the time is over the circuit closes again. Prints what it saw.
'use strict';

const { once } = require('node:events');
const http = require('node:http');
const http2 = require('node:http2');
const net = require('node:net');
const { CircuitOpenError, globalRegistry, isCircuitOpenError } = require('otel-breaker');

const host = '127.0.0.1';
const HOUR = 3_600_000;

/** A door to the server that can be shut: connections are refused, and those that are there are cut. */
class Door {
  #sockets = new Set();
  #server;

  constructor(upstream) {
    this.#server = net.createServer((near) => {
      const far = net.connect(upstream, host);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {}).on('close', () => (this.#sockets.delete(socket), near.destroy(), far.destroy()));
      }
      near.pipe(far).pipe(near);
    });
  }

  async open(port = 0) {
    await once(this.#server.listen(port, host), 'listening');
    return this.#server.address().port;
  }

  async shut() {
    const closed = once(this.#server.close(), 'close');
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** How each client makes a call, and what its breaker is called. */
const CLIENTS = {
  http: (_, port) => ({
    name: `http://${host}:${port}`,
    call: () =>
      new Promise((resolve, reject) => {
        http.get({ host, port, agent: false }, (res) => res.resume().on('end', resolve)).on('error', reject);
      }),
  }),
  fetch: (_, port) => ({
    name: `http://${host}:${port}`,
    call: async () => (await fetch(`http://${host}:${port}`)).text(),
  }),
  undici: ({ request }, port) => ({
    name: `http://${host}:${port}`,
    call: async () => (await request(`http://${host}:${port}`)).body.text(),
  }),
  ioredis: ({ Redis }, port) => {
    const redis = new Redis({ host, port, maxRetriesPerRequest: 0, retryStrategy: () => 1 });
    redis.on('error', () => {});
    return { name: `redis://${host}:${port}`, call: () => redis.ping() };
  },
  redis: ({ createClient }, port) => {
    // Without a queue for those that wait for a connection: it gives up at once.
    const socket = { host, port, reconnectStrategy: () => 1 };
    const redis = createClient({ socket, disableOfflineQueue: true });
    redis.on('error', () => {});
    const connected = redis.connect();
    return { name: `redis://${host}:${port}`, call: async () => (await connected).ping() };
  },
  mysql2: ({ createPool }, port) => {
    const { PGUSER: user, PGDATABASE: database } = process.env;
    const pool = createPool({ host, port, user, database }).promise();
    return { name: `mysql://${host}:${port}/${database}`, call: () => pool.query('SELECT 1') };
  },
  mongodb: ({ MongoClient }, port) => {
    // It gives up soon, and looks for its server as often as it may.
    const client = new MongoClient(`mongodb://${host}:${port}/?directConnection=true`, {
      serverSelectionTimeoutMS: 100,
      heartbeatFrequencyMS: 500,
      minHeartbeatFrequencyMS: 20,
    });
    const connect = () => client.connect().catch(connect);
    const connected = connect();
    return { name: `mongodb://${host}:${port}`, call: async () => (await connected).db('shop').command({ ping: 1 }) };
  },
  pg: ({ Pool }, port) => {
    const pool = new Pool({ host, port, user: process.env.PGUSER, database: process.env.PGDATABASE });
    pool.on('error', () => {});
    return { name: `postgresql://${host}:${port}/${process.env.PGDATABASE}`, call: () => pool.query('SELECT 1') };
  },
  http2: (_, port) => {
    let session;
    const call = () => {
      if (session?.destroyed !== false) session = http2.connect(`http://${host}:${port}`).on('error', () => {});
      return new Promise((resolve, reject) => {
        let answered = false;
        const stream = session.request({ ':path': '/' }).resume().on('error', reject);
        stream.on('response', () => (answered = true));
        stream.on('close', () => (answered ? resolve() : reject(new Error('lost'))));
      });
    };
    return { name: `http://${host}:${port}`, call };
  },
  nodemailer: ({ createTransport }, port) => {
    const transport = createTransport({ host, port });
    const message = { from: 'us@example.com', to: 'you@example.com', text: 'Hello' };
    return { name: `smtp://${host}:${port}`, call: () => transport.sendMail(message) };
  },
  grpc: (grpc, port) => {
    const { connect, ask } = require('../../fixtures/grpc/echo.cjs')(grpc);
    const client = connect(`${host}:${port}`, { 'grpc.initial_reconnect_backoff_ms': 100 });
    return { name: `grpc://${host}:${port}`, call: () => ask(client) };
  },
};

async function live(family, file, upstream) {
  const door = new Door(upstream);
  const port = await door.open();
  const { name, call } = CLIENTS[family](file && require(file), port);
  await call();
  const breaker = globalRegistry.get(name);
  // An answer is over a little after its last byte.
  while (breaker.stats().calls.inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
  const { success } = breaker.stats().calls;

  await door.shut();
  const failures = [];
  while (breaker.state === 'closed') failures.push(await call().catch((error) => error));
  const error = await call().catch((reason) => reason);
  const found = error instanceof CircuitOpenError ? error : error.cause;
  const rejection = {
    isCircuitOpenError: isCircuitOpenError(error),
    class: found.constructor.name,
    code: found.code,
    breaker: found.breaker,
    state: found.state,
    waits: found.retryAfterMs > 0,
    cause: failures.every((failure) => failure instanceof Error) && found.cause instanceof Error,
  };

  await door.open(port);
  while (breaker.state !== 'closed') {
    globalThis.putClockForward(HOUR);
    await call().catch(() => {});
  }
  const { rejected } = breaker.stats().calls;
  return { name, success, rejection, rejected: rejected > 0, recovered: breaker.state };
}

const [family, upstream, file] = process.argv.slice(2);
live(family, file, Number(upstream)).then(
  (result) => {
    process.stdout.write(JSON.stringify(result));
    process.exit();
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
