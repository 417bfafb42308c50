import { expect } from 'chai';
import http from 'node:http';
import http2 from 'node:http2';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import type nodemailer = require('nodemailer');
import type { default as SMTPConnection } from 'nodemailer/lib/smtp-connection';
import mysql from 'mysql2/promise';
import pg = require('pg');
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import { Http2BreakerInstrumentation } from '../../instrumentations/http2/http2-instrumentation.js';
import type { BreakerInstrumentation, BreakerInstrumentationConfig } from '../../instrumentations/instrumentation.js';
import { MongodbBreakerInstrumentation } from '../../instrumentations/mongodb/mongodb-instrumentation.js';
import { Mysql2BreakerInstrumentation } from '../../instrumentations/mysql2/mysql2-instrumentation.js';
import { NodeRedisBreakerInstrumentation } from '../../instrumentations/node-redis/node-redis-instrumentation.js';
import { NodemailerBreakerInstrumentation } from '../../instrumentations/nodemailer/nodemailer-instrumentation.js';
import { PgBreakerInstrumentation } from '../../instrumentations/pg/pg-instrumentation.js';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { GrpcBreakerInstrumentation } from '../../instrumentations/grpc/grpc-instrumentation.js';
import type { Guard } from '../../src/guard/guard.js';
import { echo } from '../support/grpc.js';
import { TestGuard } from '../support/guarded.js';
import { get } from '../support/http.js';
import { request, serveHttp2 } from '../support/http2.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { MongoServer } from '../support/mongo-server.js';
import { Clients } from '../support/node-redis.js';
import { anyPostgres } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { serve, start, stopServers } from '../support/servers.js';
import { MailServer } from '../support/smtp-server.js';

type Instrumentation = new (config: BreakerInstrumentationConfig, guard: Guard) => BreakerInstrumentation;

/** Something that takes a while, and what is patched for it, as far as it can be seen from outside. */
interface Slow {
  readonly owner?: object;
  call(): Promise<unknown>;
  release(): unknown;
}

const SLOW_MS = 200;

const clients: Record<string, readonly [Instrumentation, () => Promise<Slow>]> = {
  http: [
    HttpBreakerInstrumentation,
    async () => {
      const { port } = await serve((_, res) => void setTimeout(() => res.end('ok'), SLOW_MS));
      return { owner: http.ClientRequest.prototype, call: () => get(port), release: stopServers };
    },
  ],
  undici: [
    UndiciBreakerInstrumentation,
    async () => {
      const { origin } = await serve((_, res) => void setTimeout(() => res.end('ok'), SLOW_MS));
      return { call: async () => (await fetch(origin)).text(), release: stopServers };
    },
  ],
  http2: [
    Http2BreakerInstrumentation,
    async () => {
      const { origin, server } = await serveHttp2();
      server.removeAllListeners('stream').on('stream', (stream) =>
        setTimeout(() => {
          stream.respond({ ':status': 200 });
          stream.end('ok');
        }, SLOW_MS),
      );
      const first = http2.connect(origin);
      const call = async () => {
        const session = http2.connect(origin);
        await request(session);
        session.close();
      };
      first.close();
      return { owner: Object.getPrototypeOf(first) as object, call, release: stopServers };
    },
  ],
  grpc: [
    GrpcBreakerInstrumentation,
    async () => {
      const silent = await start(createServer(), 'grpc');
      const client = echo.connect(`127.0.0.1:${silent.port}`);
      const call = () => echo.ask(client, 'hello', { deadline: Date.now() + SLOW_MS }).catch(() => {});
      const release = () => {
        client.close();
        return stopServers();
      };
      return { call, release };
    },
  ],
  'node-redis': [
    NodeRedisBreakerInstrumentation,
    async () => {
      const server = await RedisServer.start();
      const redis = new Clients('redis');
      const client = await redis.connected(server.port);
      const release = () => {
        redis.release();
        return server.remove();
      };
      return { call: () => client.sendCommand(['DEBUG', 'SLEEP', String(SLOW_MS / 1000)]), release };
    },
  ],
  mysql2: [
    Mysql2BreakerInstrumentation,
    async () => {
      const server = await MariadbServer.start();
      const connection = await mysql.createConnection(server.config);
      const release = () => {
        connection.destroy();
        return server.stop();
      };
      return { call: () => connection.query(`SELECT SLEEP(${SLOW_MS / 1000})`), release };
    },
  ],
  mongodb: [
    MongodbBreakerInstrumentation,
    async () => {
      const server = await MongoServer.start();
      const client = await new MongoClient(server.url).connect();
      await server.fail({ commands: ['ping'], times: 1, blockMs: SLOW_MS });
      const release = async () => {
        await client.close(true);
        await server.kill();
      };
      return { call: () => client.db('test').command({ ping: 1 }), release };
    },
  ],
  pg: [
    PgBreakerInstrumentation,
    async () => {
      const server = await anyPostgres();
      const client = new pg.Client(server.url);
      await client.connect();
      const release = async () => {
        await client.end();
        await server.stop();
      };
      return { owner: pg.Query.prototype, call: () => client.query(`SELECT pg_sleep(${SLOW_MS / 1000})`), release };
    },
  ],
  nodemailer: [
    NodemailerBreakerInstrumentation,
    async () => {
      const { createTransport } = require('nodemailer8') as typeof nodemailer;
      const server = await MailServer.start({ onMailFrom: (_, __, done) => void setTimeout(done, SLOW_MS) });
      const mails = createTransport({ host: '127.0.0.1', port: server.port, secure: false });
      const call = () => mails.sendMail({ from: 'us@example.com', to: 'you@example.com', text: 'Hello' });
      const release = () => {
        mails.close();
        return server.stop();
      };
      return { call, release };
    },
  ],
  'nodemailer: a connection': [
    NodemailerBreakerInstrumentation,
    async () => {
      const Connection = require('nodemailer8/lib/smtp-connection') as typeof SMTPConnection;
      const server = await start(
        createServer((socket) => {
          setTimeout(() => socket.write('220 hello\r\n'), SLOW_MS);
          socket.on('data', () => socket.write('250 hello\r\n'));
        }),
        'smtp',
      );
      const call = () =>
        new Promise((resolve) => {
          const connection = new Connection({ host: '127.0.0.1', port: server.port, ignoreTLS: true });
          connection.connect(() => resolve(connection.close()));
        });
      return { call, release: stopServers };
    },
  ],
};

describe('disable() with calls under way', () => {
  for (const [name, [Instrumentation, prepare]] of Object.entries(clients)) {
    it(`hears of their ends, and leaves ${name} as it was then`, async () => {
      const guard = new TestGuard();
      const instrumentation = new Instrumentation({}, guard);
      const { owner = {}, call, release } = await prepare();
      try {
        const inFlight = () => [...guard.breakers].reduce((sum, breaker) => sum + breaker.stats().calls.inFlight, 0);
        await reached(() => inFlight() === 0);
        instrumentation.disable();
        const before = Object.getOwnPropertyDescriptors(owner);
        instrumentation.enable();

        const first = call();
        await reached(() => inFlight() === 1);
        instrumentation.disable();
        await first;
        await reached(() => inFlight() === 0);
        await delay(100);
        expect(Object.getOwnPropertyDescriptors(owner)).to.deep.equal(before);

        instrumentation.enable();
        const second = call();
        await reached(() => inFlight() === 1);
        instrumentation.disable();
        instrumentation.enable();
        await second;
        await reached(() => inFlight() === 0);
        instrumentation.disable();
        expect(Object.getOwnPropertyDescriptors(owner)).to.deep.equal(before);
      } finally {
        instrumentation.disable();
        await release();
      }
    });
  }
});

async function reached(condition: () => boolean): Promise<void> {
  const end = Date.now() + 2000;
  while (!condition()) {
    expect(Date.now(), 'time has run out').to.be.lessThan(end);
    await delay(5);
  }
}
