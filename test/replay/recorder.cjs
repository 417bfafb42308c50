'use strict';
// A service under the preload, with OpenTelemetry's SDK of its own, whose spans go to a file as a Collector writes them. It
// calls two servers all the while, and says what its circuits did.
const { appendFileSync } = require('node:fs');
const { setTimeout: wait } = require('node:timers/promises');
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
const { PgInstrumentation } = require('@opentelemetry/instrumentation-pg');
const { JsonTraceSerializer } = require('@opentelemetry/otlp-transformer');
const { NodeSDK } = require('@opentelemetry/sdk-node');
const { BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { globalRegistry } = require('otel-breaker');

const { TRACES, HTTP_PORT, PG_PORT, PG_USER, PG_DATABASE } = process.env;
const GAP_MS = 50;

const fileExporter = {
  export(spans, done) {
    appendFileSync(TRACES, `${Buffer.from(JsonTraceSerializer.serializeRequest(spans)).toString()}\n`);
    done({ code: 0 });
  },
  shutdown: async () => {},
};
const sdk = new NodeSDK({
  spanProcessors: [new BatchSpanProcessor(fileExporter, { scheduledDelayMillis: 200 })],
  instrumentations: [new HttpInstrumentation(), new PgInstrumentation()],
});
sdk.start();

const http = require('node:http');
const { Pool } = require('pg');

const agent = new http.Agent({ keepAlive: true });
const host = '127.0.0.1';
const pool = new Pool({
  host,
  port: Number(PG_PORT),
  user: PG_USER,
  database: PG_DATABASE,
  connectionTimeoutMillis: 1_000,
});
pool.on('error', () => {});

const clients = {
  http: () =>
    new Promise((resolve, reject) => {
      http
        .get({ host, port: Number(HTTP_PORT), agent }, (response) => response.resume().on('end', resolve))
        .on('error', reject);
    }),
  postgresql: () => pool.query('SELECT 1'),
};

let calling = true;
async function callAllTheWhile(call) {
  while (calling) {
    await call().catch(() => {});
    await wait(GAP_MS);
  }
}
const changes = [];
let callers;

async function main() {
  // A breaker is there from its first call on. On a busy machine, that one may not have an answer in time.
  const answered = (call) => call().catch(() => answered(call));
  await Promise.all(Object.values(clients).map(answered));
  for (const breaker of globalRegistry) {
    breaker.onTransition(({ name, from, to, reason, at }) =>
      changes.push({ name, from, to, reason, at: at.getTime() }),
    );
  }
  callers = Object.values(clients).map(callAllTheWhile);
  console.log('calling');
}
main();

process.once('message', async () => {
  calling = false;
  await Promise.all(callers);
  await sdk.shutdown();
  await pool.end();
  agent.destroy();
  console.log(JSON.stringify({ changes }));
  process.disconnect();
});
