// A plain service: one route for each client it uses. It knows nothing of circuit breakers.
import http from 'node:http';
import http2 from 'node:http2';

const {
  HTTP_UPSTREAM,
  FETCH_UPSTREAM,
  IOREDIS_UPSTREAM,
  NODE_REDIS_UPSTREAM,
  MYSQL2_UPSTREAM,
  MONGODB_UPSTREAM,
  PG_UPSTREAM,
  GRPC_UPSTREAM,
  HTTP2_UPSTREAM,
  NODEMAILER_UPSTREAM,
  PORT = '0',
} = process.env;

const redis = IOREDIS_UPSTREAM && new (await import('ioredis')).Redis(IOREDIS_UPSTREAM);
redis?.on('error', () => {});
// With less patience than by default, so that the demo need not wait five seconds.
const nodeRedis =
  NODE_REDIS_UPSTREAM &&
  (await import('redis')).createClient({ url: NODE_REDIS_UPSTREAM, commandOptions: { timeout: 1_000 } });
nodeRedis?.on('error', () => {});
await nodeRedis?.connect();
const mysql =
  MYSQL2_UPSTREAM && (await import('mysql2/promise')).createPool({ uri: MYSQL2_UPSTREAM, connectionLimit: 5 });
// With less patience than by default, so that the demo need not wait half a minute.
const mongo =
  MONGODB_UPSTREAM &&
  (await new (await import('mongodb')).MongoClient(MONGODB_UPSTREAM, { serverSelectionTimeoutMS: 1_000 }).connect());
const pool = PG_UPSTREAM && new (await import('pg')).default.Pool({ connectionString: PG_UPSTREAM, max: 5 });
pool?.on('error', () => {});
const mail =
  NODEMAILER_UPSTREAM &&
  (await import('nodemailer')).createTransport({ url: NODEMAILER_UPSTREAM, pool: true, maxConnections: 5 });
const stock = GRPC_UPSTREAM && (await connectToStock(new URL(GRPC_UPSTREAM).host));

async function connectToStock(address) {
  const { credentials, makeGenericClientConstructor } = await import('@grpc/grpc-js');
  const { stock: service } = await import('./stock.mjs');
  const Stock = makeGenericClientConstructor(service, 'Stock');
  return new Stock(address, credentials.createInsecure(), { 'grpc.max_reconnect_backoff_ms': 2_000 });
}

let session;

const lookUp = {
  http: () =>
    new Promise((resolve, reject) => {
      http
        .request(HTTP_UPSTREAM, (answer) => {
          answer.resume().on('end', () => resolve(answer.statusCode));
        })
        .on('error', reject)
        .end();
    }),
  fetch: async () => {
    const answer = await fetch(FETCH_UPSTREAM);
    await answer.arrayBuffer();
    return answer.status;
  },
  ioredis: () => redis.incr('calls'),
  'node-redis': () => nodeRedis.incr('calls'),
  mysql2: async () => (await mysql.query('SELECT 1 AS one'))[0][0].one,
  mongodb: () => mongo.db('shop').collection('orders').countDocuments(),
  nodemailer: async () =>
    (await mail.sendMail({ from: 'shop@example.com', to: 'you@example.com', text: 'Sent' })).response,
  pg: async () => (await pool.query('SELECT 1 AS one')).rows[0].one,
  http2: () => {
    if (session?.destroyed !== false) session = http2.connect(HTTP2_UPSTREAM).on('error', () => {});
    return new Promise((resolve, reject) => {
      const stream = session.request({ ':path': '/' }).resume();
      let status;
      stream.on('response', (headers) => (status = headers[':status'])).on('error', reject);
      stream.on('close', () => (status === undefined ? reject(new Error('no answer')) : resolve(status)));
    });
  },
  grpc: () =>
    new Promise((resolve, reject) => {
      stock.look('shoes', (error, answer) => (error ? reject(error) : resolve(answer)));
    }),
};

// Of gRPC, a code is a number; a rejected call has ours as its cause.
const codeOf = ({ code, cause, message }) =>
  (typeof code === 'number' || code === 'ECONNECTION' ? cause?.code : undefined) ?? code ?? cause?.code ?? message;

const server = http.createServer(async (incoming, outgoing) => {
  const call = lookUp[incoming.url.slice(1)];
  try {
    outgoing.end(JSON.stringify({ answer: await call() }));
  } catch (error) {
    outgoing.writeHead(502).end(JSON.stringify({ error: codeOf(error) }));
  }
});

server.listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => process.exit());
