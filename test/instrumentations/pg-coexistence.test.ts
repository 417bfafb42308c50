import { expect } from 'chai';
import { PRELOAD, runNode } from '../support/child.js';
import { anyPostgres } from '../support/postgres-server.js';

const TRACING = `
  const { NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');
  const { InMemorySpanExporter, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base');
  const { registerInstrumentations } = require('@opentelemetry/instrumentation');
  const { PgInstrumentation } = require('@opentelemetry/instrumentation-pg');
  const exporter = new InMemorySpanExporter();
  let started = 0;
  const counter = { onStart: () => started++, onEnd() {}, shutdown: async () => {}, forceFlush: async () => {} };
  const provider = new NodeTracerProvider({ spanProcessors: [counter, new SimpleSpanProcessor(exporter)] });
  provider.register();
  registerInstrumentations({ instrumentations: [new PgInstrumentation()] });
`;

const WORK = `
  const { trace } = require('@opentelemetry/api');
  async function work(pg) {
    const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 2 });
    await trace.getTracer('app').startActiveSpan('request', async (span) => {
      await pool.query('SELECT 1');
      await pool.query({ text: 'SELECT $1::int', values: [1] });
      await new Promise((resolve) => pool.query('SELECT 2', resolve));
      await pool.query('SELECT 1/0').catch(() => {});
      const client = await pool.connect();
      await client.query('BEGIN');
      await new Promise((resolve) => client.query('SELECT 3', resolve));
      await client.query('ROLLBACK');
      client.release();
      span.end();
    });
    await pool.end();
    const single = new pg.Client(process.env.DATABASE_URL);
    await single.connect();
    await single.query('SELECT 4');
    await single.end();
  }
  function report() {
    const spans = exporter.getFinishedSpans();
    const names = new Map(spans.map((span) => [span.spanContext().spanId, span.name]));
    const [breaker] = require('otel-breaker').globalRegistry.getAllStats();
    console.log(JSON.stringify({ guarded: breaker?.calls, unended: started - spans.length, spans: spans.map((span) => ({
      name: span.name, kind: span.kind, attributes: span.attributes, status: span.status,
      parent: names.get(span.parentSpanContext?.spanId), events: span.events.map(({ name }) => name),
    })) }));
  }
`;

const OURS = `require('otel-breaker/register');`;
const RUN = `work(require('pg')).then(report);`;

interface Report {
  /** What our breaker counted, where there is one. */
  readonly guarded?: Record<string, number>;
  readonly unended: number;
  readonly spans: readonly { readonly name: string; readonly events: readonly string[] }[];
}

describe("pg: OpenTelemetry's own instrumentation beside ours", () => {
  let server: Awaited<ReturnType<typeof anyPostgres>>;
  let alone: Report;

  before(async () => {
    server = await anyPostgres();
    alone = await spansOf(TRACING + WORK + RUN);
  });
  after(() => server.stop());

  async function spansOf(source: string, nodeArgs: readonly string[] = []): Promise<Report> {
    const { code, stdout, stderr } = await runNode({
      nodeArgs,
      program: { kind: 'commonjs', source },
      env: { DATABASE_URL: server.url, OTEL_BREAKER_METRICS: 'off' },
    });
    expect(code, stderr).to.equal(0);
    return JSON.parse(stdout) as Report;
  }

  it('gives spans at all', () => {
    expect(alone.unended).to.equal(0);
    expect(alone.spans.map(({ name }) => name)).to.include.members(['request', 'pg-pool.connect', 'pg.connect']);
    expect(alone.spans.length).to.be.greaterThan(10);
  });

  const orders: Record<string, [source: string, nodeArgs?: readonly string[]]> = {
    'preloaded before it': [TRACING + WORK + RUN, PRELOAD],
    'loaded after it, before pg': [TRACING + OURS + WORK + RUN],
    'loaded after pg': [`${TRACING} require('pg'); ${OURS} ${WORK} ${RUN}`],
    'loaded before it, with pg loaded first': [`${OURS} require('pg'); ${TRACING} ${WORK} ${RUN}`],
    'preloaded, and pg imported': [
      `${TRACING} ${WORK} import('pg').then(({ default: pg }) => work(pg)).then(report);`,
      PRELOAD,
    ],
  };
  for (const [order, [source, nodeArgs]] of Object.entries(orders)) {
    it(`leaves the application's spans as they are: ${order}`, async () => {
      // What is loaded when decides what OpenTelemetry itself sees: the same order without us is the measure.
      const without = await spansOf(source.replace(OURS, ''), []);
      const { guarded, ...spans } = await spansOf(source, nodeArgs);
      expect(spans).to.deep.equal(without);
      expect(guarded).to.deep.equal({ success: 9, failure: 0, ignored: 0, rejected: 0, inFlight: 0, oldestMs: null });
    });
  }

  it('ends the spans of rejected calls', async () => {
    const open = `
      const { globalRegistry } = require('otel-breaker');
      async function rejected(pg) {
        const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
        await pool.query('SELECT 1');
        const client = await pool.connect();
        for (const breaker of globalRegistry) breaker.forceOpen();
        exporter.reset();
        started = 0;
        await pool.query('SELECT 2').catch(() => {});
        await new Promise((resolve) => pool.query('SELECT 3', resolve));
        await pool.connect().catch(() => {});
        await client.query('SELECT 4').catch(() => {});
        await new Promise((resolve) => client.query('SELECT 5', resolve));
        await new pg.Client(process.env.DATABASE_URL).connect().catch(() => {});
        client.release();
        await pool.end();
      }
      rejected(require('pg')).then(report);
    `;
    const { unended, spans } = await spansOf(TRACING + WORK + open, PRELOAD);
    expect(unended).to.equal(0);
    expect(spans.filter(({ name }) => name.startsWith('pg'))).to.have.length.of.at.least(6);
  });
});
