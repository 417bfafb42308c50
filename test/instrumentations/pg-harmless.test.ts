import { once } from 'node:events';
import { SpanKind, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { expect } from 'chai';
import pg = require('pg');
import { PgAttachment } from '../../instrumentations/pg/pg-attachment.js';
import { getRuntime } from '../../src/runtime.js';
import { captureDiagnostics, releaseDiagnostics } from '../support/diagnostics.js';
import { TestGuard } from '../support/guarded.js';
import { endPool } from '../support/pools.js';
import { anyPostgres } from '../support/postgres-server.js';

describe('pg: out of the way', () => {
  let server: Awaited<ReturnType<typeof anyPostgres>>;
  let guard: TestGuard;
  let attachment: PgAttachment;

  before(async () => {
    server = await anyPostgres();
  });
  after(() => server.stop());

  beforeEach(() => {
    guard = new TestGuard({ preset: 'database' });
    attachment = new PgAttachment(guard);
  });
  afterEach(() => {
    attachment.detach();
    releaseDiagnostics();
  });

  /** Everything an application does with pg. */
  async function work(): Promise<unknown[]> {
    const answers: unknown[] = [];
    const client = new pg.Client(server.url);
    await client.connect();
    answers.push((await client.query('SELECT 1 AS n')).rows);
    const [row] = (await once(client.query(new pg.Query('SELECT 2 AS n')), 'row')) as unknown[];
    answers.push(row);
    answers.push(await client.query('SELECT 1/0').catch((error: { code: string }) => error.code));
    await client.end();
    const pool = new pg.Pool({ connectionString: server.url, max: 1 });
    answers.push(
      await Promise.all([1, 2, 3].map(async (n) => (await pool.query<object>('SELECT $1::int AS n', [n])).rows)),
    );
    const checkedOut = await pool.connect();
    answers.push((await checkedOut.query('SELECT 4 AS n')).rows);
    checkedOut.release();
    answers.push(
      await new Promise((resolve) => pool.query('SELECT 5 AS n', (_error, { rows }: pg.QueryResult) => resolve(rows))),
    );
    await endPool(pool);
    return answers;
  }

  const EXPECTED = [[{ n: 1 }], { n: 2 }, '22012', [[{ n: 1 }], [{ n: 2 }], [{ n: 3 }]], [{ n: 4 }], [{ n: 5 }]];

  it('works as ever', async () => {
    attachment.attach();
    expect(await work()).to.deep.equal(EXPECTED);
    expect(guard.only.stats().calls).to.deep.include({ failure: 0, ignored: 0, rejected: 0, inFlight: 0 });
  });

  const fault = (): never => {
    throw new Error('our bug');
  };

  const faults: Record<string, (attachment: PgAttachment, guard: TestGuard) => void> = {
    'the span of a call': (ours) => (ours.callSpan = fault),
    'the span within a call': (ours) => (ours.innerSpan = fault),
    'a look at the circuit': (ours) => (ours.isClosed = fault),
    'asking the guard': (_ours, door) => (door.enter = fault),
    'passing the guard': (_ours, door) => (door.pass = fault),
  };
  for (const [where, inject] of Object.entries(faults)) {
    it(`lets calls through where we are at fault: ${where}`, async () => {
      captureDiagnostics();
      attachment.attach();
      inject(attachment, guard);
      expect(await work()).to.deep.equal(EXPECTED);
      for (const breaker of guard.breakers) expect(breaker.stats().calls.inFlight).to.equal(0);
    });
  }

  it('works beside a tracer without a name', async () => {
    const exporter = new InMemorySpanExporter();
    const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
    provider.register();
    const { spans } = getRuntime();
    spans.watch();
    attachment.attach();
    const span = trace.getTracer(undefined as never).startSpan('open', { kind: SpanKind.CLIENT });
    try {
      expect(await work()).to.deep.equal(EXPECTED);
      expect(guard.only.stats().calls).to.deep.include({ failure: 0, ignored: 0, rejected: 0, inFlight: 0 });
    } finally {
      span.end();
      spans.stop();
      trace.disable();
      await provider.shutdown();
    }
  });
});
