'use strict';
// A service under the preload that calls a server through each library of docs/integrations.md: first while all is well, then
// while its circuit is open; through clients that keep calls also while there is no connection. Prints what each call got.
const { once } = require('node:events');
const { readFileSync } = require('node:fs');
const net = require('node:net');
const { join } = require('node:path');
const { CircuitOpenError, configure, globalRegistry, isCircuitOpenError } = require('otel-breaker');

const { http, http2, redis, postgresql, mysql, mongodb, smtp, grpc } = JSON.parse(process.env.SERVERS);

const certificateAuthority = readFileSync(join(__dirname, '../fixtures/localhost.cert.pem'));

const quiet = (client) => client.on('error', () => {});

// Not `once` of node:events, which rejects where an `error` comes first.
const heard = (client, event) => new Promise((resolve) => client.once(event, resolve));

function setAll(method) {
  for (const breaker of globalRegistry) breaker[method]();
}

const countRejected = () => [...globalRegistry].reduce((sum, breaker) => sum + breaker.stats().calls.rejected, 0);

/** What a call got: where our error is in that of its library, and after how many attempts it came. */
async function refusalOf(call) {
  const before = countRejected();
  try {
    await call();
  } catch (error) {
    const { code, status, cause } = error;
    const ours =
      error instanceof CircuitOpenError
        ? 'itself'
        : cause instanceof CircuitOpenError
          ? 'cause'
          : isCircuitOpenError(error)
            ? 'further'
            : 'none';
    return { class: error.constructor.name, code, status, ours, attempts: countRejected() - before };
  }
  throw new Error('A call was not refused');
}

/** Something between a client and its server that can be taken away. */
async function relay(url) {
  const { hostname, port } = new URL(url);
  const sockets = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), hostname);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
      socket.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: server.address().port,
    remove() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** How to call through a library, how to end its client, and when that knows that it lost its connection. */
const libraries = {
  fetch: () => ({ call: () => fetch(http) }),
  axios: () => ({ call: () => require('axios').get(http) }),
  got: async () => {
    const { got } = await import('got');
    return { call: () => got(http) };
  },
  'got, http2: true': async () => {
    const { got } = await import('got');
    return { call: () => got(http2, { http2: true, https: { certificateAuthority } }) };
  },
  'node:http2': () => {
    const session = quiet(require('node:http2').connect(http2, { ca: certificateAuthority }));
    return { call: () => once(session.request().resume(), 'end'), end: () => session.close() };
  },
  ky: async () => {
    const { default: ky } = await import('ky');
    return { call: () => ky(http).text() };
  },
  superagent: () => ({ call: () => require('superagent').get(http) }),
  'node-fetch2': () => ({ call: () => require('node-fetch2')(http) }),
  'node-fetch': async () => {
    const { default: nodeFetch } = await import('node-fetch');
    return { call: () => nodeFetch(http) };
  },
  urllib: () => ({ call: () => require('urllib').request(http) }),
  openai: () => {
    const { OpenAI } = require('openai');
    const client = new OpenAI({ apiKey: 'none', baseURL: http });
    return { call: () => client.models.list() };
  },
  '@anthropic-ai/sdk': () => {
    const { Anthropic } = require('@anthropic-ai/sdk');
    const client = new Anthropic({ apiKey: 'none', baseURL: http });
    return { call: () => client.models.list() };
  },
  '@aws-sdk/client-s3': () => {
    const { HeadBucketCommand, S3Client } = require('@aws-sdk/client-s3');
    const credentials = { accessKeyId: 'none', secretAccessKey: 'none' };
    const client = new S3Client({ endpoint: http, region: 'eu-central-1', forcePathStyle: true, credentials });
    return { call: () => client.send(new HeadBucketCommand({ Bucket: 'orders' })) };
  },
  pg: async () => {
    const { Client } = require('pg');
    const client = quiet(new Client({ connectionString: postgresql }));
    await client.connect();
    return { call: () => client.query('SELECT 1'), end: () => client.end() };
  },
  'pg-pool': () => {
    const { Pool } = require('pg');
    const pool = quiet(new Pool({ connectionString: postgresql }));
    return { call: () => pool.query('SELECT 1'), end: () => pool.end() };
  },
  knex: () => {
    const db = require('knex').knex({ client: 'pg', connection: postgresql });
    return { call: () => db.raw('SELECT 1'), end: () => db.destroy() };
  },
  'drizzle-orm': () => {
    const { Pool } = require('pg');
    const pool = quiet(new Pool({ connectionString: postgresql }));
    const db = require('drizzle-orm/node-postgres').drizzle({ client: pool });
    return { call: () => db.execute('SELECT 1'), end: () => pool.end() };
  },
  mysql2: () => {
    const pool = require('mysql2/promise').createPool(mysql);
    return { call: () => pool.query('SELECT 1'), end: () => pool.end() };
  },
  nodemailer: () => {
    const transport = require('nodemailer').createTransport({ host: '127.0.0.1', port: smtp });
    const message = { from: 'a@example.com', to: 'b@example.com', text: 'x' };
    return { call: () => transport.sendMail(message) };
  },
  '@grpc/grpc-js': () => {
    const echo = require('../fixtures/grpc/echo.cjs')(require('@grpc/grpc-js'));
    const client = echo.connect(grpc);
    return { call: () => echo.ask(client), end: () => client.close() };
  },
};

const ioredis = (name) => async (port) => {
  const { Redis } = require(name);
  const client = quiet(new Redis(port, '127.0.0.1', { retryStrategy: () => 10, maxRetriesPerRequest: 1 }));
  return { call: () => client.get('a'), end: () => client.disconnect(), lost: () => heard(client, 'reconnecting') };
};
const nodeRedis = (name) => async (port) => {
  const socket = { host: '127.0.0.1', port, reconnectStrategy: 10 };
  const client = quiet(require(name).createClient({ socket, commandOptions: { timeout: 100 } }));
  await client.connect();
  return { call: () => client.get('a'), end: () => client.destroy(), lost: () => heard(client, 'reconnecting') };
};
const MONGO = { directConnection: true, serverSelectionTimeoutMS: 300, heartbeatFrequencyMS: 500 };

/** The same of those that keep calls while there is no connection; each with some patience, or there would be no end. */
const waiting = {
  ioredis5: ioredis('ioredis5'),
  ioredis: ioredis('ioredis'),
  iovalkey: ioredis('iovalkey'),
  redis5: nodeRedis('redis5'),
  redis: nodeRedis('redis'),
  mongodb: async (port) => {
    const { MongoClient } = require('mongodb');
    const client = new MongoClient(`mongodb://127.0.0.1:${port}`, MONGO);
    return { call: () => client.db('shop').collection('orders').findOne(), end: () => client.close(true) };
  },
  mongoose: async (port) => {
    const mongoose = require('mongoose');
    const options = { ...MONGO, autoCreate: false, autoIndex: false };
    const connection = await mongoose.createConnection(`mongodb://127.0.0.1:${port}`, options).asPromise();
    quiet(connection);
    const Order = connection.model('Order', new mongoose.Schema({ n: Number }));
    return { call: () => Order.findOne(), end: () => connection.close(true) };
  },
};

const say = (library, situation, refusal) => console.log(JSON.stringify({ library, situation, ...refusal }));

async function main() {
  for (const [name, make] of Object.entries(libraries)) {
    setAll('reset');
    const { call, end } = await make();
    await call();
    setAll('forceOpen');
    say(name, 'connected', await refusalOf(call));
    if (['openai', '@anthropic-ai/sdk', '@grpc/grpc-js'].includes(name)) {
      configure({ defaults: { whenOpen: 'respond' } });
      say(name, 'respond', await refusalOf(call));
      configure({});
    }
    await end?.();
  }
  for (const [name, make] of Object.entries(waiting)) {
    setAll('reset');
    const { port, remove } = await relay(name.startsWith('mongo') ? mongodb : redis);
    const { call, end, lost } = await make(port);
    await call();
    setAll('forceOpen');
    say(name, 'connected', await refusalOf(call));
    setAll('reset');
    await Promise.all([lost?.(), remove()]);
    say(name, 'first', await refusalOf(call));
    setAll('forceOpen');
    say(name, 'later', await refusalOf(call));
    await end();
  }
  for (const [name, make] of Object.entries(waiting)) {
    setAll('reset');
    configure({ defaults: { whenOpen: 'throw' } });
    const { port, remove } = await relay(name.startsWith('mongo') ? mongodb : redis);
    const { call, end, lost } = await make(port);
    await call();
    await Promise.all([lost?.(), remove()]);
    setAll('forceOpen');
    say(name, 'throw', await refusalOf(call));
    await end();
  }
}

void main();
