// A plain service: one route for each client it uses. It knows nothing of circuit breakers.
import http from 'node:http';

const { HTTP_UPSTREAM, FETCH_UPSTREAM, IOREDIS_UPSTREAM, PG_UPSTREAM, PORT = '0' } = process.env;

const redis = IOREDIS_UPSTREAM && new (await import('ioredis')).Redis(IOREDIS_UPSTREAM);
redis?.on('error', () => {});
const pool = PG_UPSTREAM && new (await import('pg')).default.Pool({ connectionString: PG_UPSTREAM, max: 5 });
pool?.on('error', () => {});

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
  pg: async () => (await pool.query('SELECT 1 AS one')).rows[0].one,
};

const server = http.createServer(async (incoming, outgoing) => {
  const call = lookUp[incoming.url.slice(1)];
  try {
    outgoing.end(JSON.stringify({ answer: await call() }));
  } catch (error) {
    outgoing.writeHead(502).end(JSON.stringify({ error: error.code ?? error.cause?.code ?? error.message }));
  }
});

server.listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => process.exit());
