import { expect } from 'chai';
import { PRELOAD, runNode } from '../support/child.js';
import { findRedis } from '../support/redis-server.js';

interface Seen {
  readonly spans: {
    readonly name: string;
    readonly parent: boolean;
    readonly status: number;
    readonly attributes: object;
  }[];
  readonly calls: { readonly success: number; readonly rejected: number } | undefined;
}

const PROGRAM = `
  const { trace, context } = require('@opentelemetry/api');
  const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
  const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base');
  const { registerInstrumentations } = require('@opentelemetry/instrumentation');
  const { IORedisInstrumentation } = require('@opentelemetry/instrumentation-ioredis');

  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  registerInstrumentations({ instrumentations: [new IORedisInstrumentation()] });
  const { Redis } = require('ioredis');
  if (process.env.OURS === 'after') {
    const { IoredisBreakerInstrumentation } = require('otel-breaker/instrumentations');
    new IoredisBreakerInstrumentation();
  }
  const { globalRegistry } = require('otel-breaker');

  const redis = new Redis(process.env.SERVER);
  redis.defineCommand('same', { numberOfKeys: 1, lua: 'return KEYS[1]' });
  const tracer = trace.getTracer('test');
  tracer.startActiveSpan('parent', async (parent) => {
    await redis.set('text', 'x');
    await redis.get('text');
    await redis.lpush('text', 'y').catch(() => {});
    await redis.pipeline().get('text').lpush('text', 'y').exec();
    await redis.multi().get('text').incr('number').exec();
    await redis.same('key');
    await new Promise((resolve) => redis.get('text', resolve));
    parent.end();
    const breaker = [...globalRegistry][0];
    if (process.env.REJECTED) {
      breaker.forceOpen();
      exporter.reset();
      await tracer.startActiveSpan('parent', async (parent) => {
        await redis.get('text').catch(() => {});
        await redis.pipeline().get('text').exec();
        parent.end();
      });
    }
    await redis.quit();
    const spans = exporter.getFinishedSpans().map(({ name, parentSpanContext, status, attributes }) => (
      { name, parent: parentSpanContext !== undefined, status: status.code, attributes }
    ));
    console.log(JSON.stringify({ spans, calls: breaker?.stats().calls }));
  });
`;

describe('ioredis under OpenTelemetry', () => {
  let redis: Awaited<ReturnType<typeof findRedis>>;

  before(async () => {
    redis = await findRedis();
  });

  after(() => redis.release());

  async function run(env: NodeJS.ProcessEnv, nodeArgs: readonly string[] = []): Promise<Seen> {
    const { stdout, stderr } = await runNode({
      nodeArgs,
      env: { SERVER: redis.url, ...env },
      program: { kind: 'commonjs', source: PROGRAM },
    });
    expect(stdout, stderr).to.match(/^\{/);
    return JSON.parse(stdout) as Seen;
  }

  it('has the same spans with us before it, with us after it, and without us', async () => {
    const without = await run({});
    expect(without.calls).to.equal(undefined);
    expect(without.spans.map(({ name }) => name)).to.include.members([
      'set',
      'get',
      'lpush',
      'multi',
      'exec',
      'parent',
    ]);
    const before = await run({}, PRELOAD);
    expect(before.spans).to.deep.equal(without.spans);
    const after = await run({ OURS: 'after' });
    expect(after.spans).to.deep.equal(without.spans);
    // Each command, each pipeline and each MULTI once.
    expect(before.calls).to.include({ success: 7, rejected: 0 });
    expect(after.calls).to.include({ success: 7, rejected: 0 });
  });

  it('ends the spans of rejected commands with an error', async () => {
    const { spans, calls } = await run({ REJECTED: 'yes' }, PRELOAD);
    expect(calls!.rejected).to.equal(2);
    const ERROR = 2;
    expect(spans.filter(({ status }) => status === ERROR).map(({ name }) => name)).to.deep.equal(['get', 'get']);
  });
});
