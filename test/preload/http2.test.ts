import { expect } from 'chai';
import { join } from 'node:path';
import { PRELOAD, runNode } from '../support/child.js';
import { serveHttp2, type Http2Upstream } from '../support/http2.js';
import { stopServers } from '../support/servers.js';

const FIXTURES = join(__dirname, '../fixtures/preload');

describe('the preload and node:http2', () => {
  let server: Http2Upstream;

  before(async () => {
    server = await serveHttp2();
  });
  after(stopServers);

  for (const [program, when] of [
    ['http2.mjs', 'at once where the first file of a program names it'],
    ['http2-from-afar.mjs', 'a moment after the start where an ES module further away imports it'],
  ] as const) {
    it(`guards it ${when}`, async () => {
      const { stdout, stderr } = await runNode({
        nodeArgs: PRELOAD,
        program: join(FIXTURES, program),
        env: { ORIGIN: server.origin, OTEL_LOG_LEVEL: 'none' },
      });
      expect(stdout, stderr).to.equal(`${JSON.stringify([[server.origin, 1]])}\n`);
    });
  }

  it('guards it where our instrumentations are loaded before it', async () => {
    const source = `
      require('otel-breaker/instrumentations');
      const session = require('http2').connect(process.env.ORIGIN);
      session.request().on('close', () => {
        session.close();
        console.log(require('otel-breaker').globalRegistry.listNames());
      }).resume();`;
    const { stdout, stderr } = await runNode({
      nodeArgs: PRELOAD,
      program: { kind: 'commonjs', source },
      env: { ORIGIN: server.origin },
    });
    expect(stdout).to.equal(`[ '${server.origin}' ]\n`);
    expect(stderr).to.equal('');
  });

  it('does not load it for a service that uses none of it', async () => {
    const source = "console.log(process.moduleLoadList.includes('NativeModule http2'))";
    const { stdout } = await runNode({ nodeArgs: PRELOAD, program: { kind: 'commonjs', source } });
    expect(stdout).to.equal('false\n');
  });
});
