import { BSON } from 'mongodb';
import type { ErrorAnswer } from './misbehaving-proxy.js';
import { echo } from '../support/grpc.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { MongoServer } from '../support/mongo-server.js';
import { serveHttp2 } from '../support/http2.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { serve } from '../support/servers.js';
import { MailServer } from '../support/smtp-server.js';

/** The clients tried: what Node has, and packages by the name they are installed under; nodemailer with a connection for each message, too. */
export const CLIENTS = [
  'http',
  'fetch',
  'undici',
  'ioredis',
  'ioredis5',
  'redis',
  'mysql2',
  'mongodb',
  'pg',
  'grpc',
  'http2',
  'nodemailer',
  'nodemailer-pool',
] as const;
export type ClientName = (typeof CLIENTS)[number];

/** A real server, and how it says that it cannot work. */
export interface Backend {
  readonly port: number;
  readonly scheme: string;
  /** What follows the port in the name of its breaker. */
  readonly path: string;
  /** What a client has to be told besides host and port. */
  readonly options: object;
  readonly errorAnswer: ErrorAnswer;
}

export interface Backends {
  of(client: ClientName): Backend;
  stop(): Promise<void>;
}

export async function startBackends(): Promise<Backends> {
  const web = await serve((_request, response) =>
    response.end('an answer of some length, so that half of it is not all of it'),
  );
  const redis = await RedisServer.start();
  const postgres = await PostgresServer.start();
  const rpc = await echo.serve();
  const mariadb = await MariadbServer.start();
  const mongodb = await MongoServer.start();
  const web2 = await serveHttp2();
  const mail = await MailServer.start();
  await redis.command('SET', 'key', 'a value');
  const byHttp: Backend = { port: web.port, scheme: 'http', path: '', options: {}, errorAnswer: unavailable };
  const byRedis: Backend = { port: redis.port, scheme: 'redis', path: '', options: {}, errorAnswer: loading };
  const byGrpc: Backend = { port: rpc.port, scheme: 'grpc', path: '', options: {}, errorAnswer: goingAway };
  const byMail: Backend = { port: mail.port, scheme: 'smtp', path: '', options: {}, errorAnswer: closingDown };
  const { user, database } = postgres;
  const byPostgres: Backend = {
    port: postgres.port,
    scheme: 'postgresql',
    path: `/${database}`,
    options: { user, database },
    errorAnswer: shuttingDown,
  };
  const byMysql: Backend = {
    port: mariadb.port,
    scheme: 'mysql',
    path: `/${mariadb.database}`,
    options: { user: mariadb.user, database: mariadb.database },
    errorAnswer: tooManyConnections,
  };
  const byMongo: Backend = {
    port: mongodb.port,
    scheme: 'mongodb',
    path: '',
    options: {},
    errorAnswer: shuttingDownInBson,
  };
  const byClient: Partial<Record<ClientName, Backend>> = {
    ioredis: byRedis,
    ioredis5: byRedis,
    redis: byRedis,
    mysql2: byMysql,
    mongodb: byMongo,
    pg: byPostgres,
    grpc: byGrpc,
    http2: { ...byHttp, port: web2.port, errorAnswer: goingAway },
    nodemailer: byMail,
    'nodemailer-pool': byMail,
  };
  return {
    of: (client) => byClient[client] ?? byHttp,
    stop: async () => {
      await web.stop();
      await redis.remove();
      postgres.remove();
      rpc.stop();
      await mariadb.stop();
      await mongodb.kill();
      await web2.stop();
      await mail.stop();
    },
  };
}

const unavailable: ErrorAnswer = () => ({
  answer: Buffer.from('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy'),
  hangUp: false,
});

/** One for each command of the chunk: the length of an array of texts stands before each. */
const loading: ErrorAnswer = (request) => {
  const commands = request.toString('latin1').match(/\*\d+\r\n\$/g)?.length ?? 1;
  return { answer: Buffer.from('-LOADING Redis is loading the dataset in memory\r\n'.repeat(commands)), hangUp: false };
};

/** The number of a packet is one more than that which it answers; the first of a command has 0. */
const tooManyConnections: ErrorAnswer = (request) => {
  const text = Buffer.from('#08004Too many connections');
  const packet = Buffer.alloc(7);
  packet.writeUIntLE(3 + text.length, 0, 3);
  packet[3] = (request[3] ?? 0) + 1;
  packet[4] = 0xff;
  packet.writeUInt16LE(1040, 5);
  return { answer: Buffer.concat([packet, text]), hangUp: true };
};

/** In reply to an OP_MSG; what comes first on a connection is an OP_QUERY, whose reply begins with a header of its own. */
const shuttingDownInBson: ErrorAnswer = (request) => {
  const isFirst = request.readInt32LE(12) === 2004;
  const error = BSON.serialize({ ok: 0, code: 91, codeName: 'ShutdownInProgress', errmsg: 'shutting down' });
  const before = Buffer.alloc(isFirst ? 20 : 5);
  if (isFirst) before.writeInt32LE(1, 16);
  const header = Buffer.alloc(16);
  header.writeInt32LE(16 + before.length + error.length);
  header.writeInt32LE(request.readInt32LE(4), 8);
  header.writeInt32LE(isFirst ? 1 : 2013, 12);
  return { answer: Buffer.concat([header, before, error]), hangUp: false };
};

const shuttingDown: ErrorAnswer = () => {
  const fields = Buffer.from('SFATAL\0VFATAL\0C57P03\0Mthe database system is shutting down\0\0');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(fields.length + 4);
  return { answer: Buffer.concat([Buffer.from('E'), length, fields]), hangUp: true };
};

/** A frame of HTTP/2 that says that the server gives up: GOAWAY with an internal error, for all streams. */
const goingAway: ErrorAnswer = () => ({
  answer: Buffer.from('0000080700000000000000000000000002', 'hex'),
  hangUp: true,
});

const closingDown: ErrorAnswer = () => ({ answer: Buffer.from('421 4.3.2 Service shutting down\r\n'), hangUp: true });
