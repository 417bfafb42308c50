import { expect } from 'chai';
import { PRELOAD, runNode, type ChildOptions } from '../support/child.js';
import { findRedis } from '../support/redis-server.js';

const REPORT = `
  await redis.set('key', 'value');
  redis.disconnect();
  console.log(JSON.stringify([...globalRegistry].map((breaker) => [breaker.name, breaker.stats().calls.success])));
`;

describe('ioredis under the preload', () => {
  let redis: Awaited<ReturnType<typeof findRedis>>;

  before(async () => {
    redis = await findRedis();
  });

  after(() => redis.release());

  async function expectOneCall(nodeArgs: readonly string[], program: ChildOptions['program']): Promise<void> {
    const { stdout, stderr, code } = await runNode({ nodeArgs, env: { SERVER: redis.url }, program });
    const { hostname, port } = new URL(redis.url);
    expect(stdout.trim(), stderr).to.equal(JSON.stringify([[`redis://${hostname}:${port || 6379}`, 1]]));
    expect(code).to.equal(0);
  }

  const required = (name: string) => `
    const { Redis } = require('${name}');
    const { globalRegistry } = require('otel-breaker');
    const redis = new Redis(process.env.SERVER);
    (async () => {${REPORT}})();
  `;
  const imported = (name: string) => `
    import { Redis } from '${name}';
    import { globalRegistry } from 'otel-breaker';
    const redis = new Redis(process.env.SERVER);
    ${REPORT}
  `;

  for (const name of ['ioredis', 'ioredis5']) {
    it(`guards ${name}, required and imported`, async () => {
      await expectOneCall(PRELOAD, { kind: 'commonjs', source: required(name) });
      await expectOneCall(PRELOAD, { kind: 'module', source: imported(name) });
      await expectOneCall(['--import', 'otel-breaker/register'], { kind: 'module', source: imported(name) });
    });
  }

  it('guards two copies in one process by one breaker', async () => {
    const source = `
      const { globalRegistry } = require('otel-breaker');
      const clients = ['ioredis', 'ioredis5'].map((name) => new (require(name).Redis)(process.env.SERVER));
      (async () => {
        for (const client of clients) await client.ping();
        for (const client of clients) client.disconnect();
        console.log(JSON.stringify([...globalRegistry].map((breaker) => breaker.stats().calls.success)));
      })();
    `;
    const program = { kind: 'commonjs', source } as const;
    const { stdout, stderr } = await runNode({ nodeArgs: PRELOAD, env: { SERVER: redis.url }, program });
    expect(stdout.trim(), stderr).to.equal('[2]');
  });
});
