import { join } from 'node:path';
import { expect } from 'chai';
import { PRELOAD, ROOT, runNode, type ChildResult } from '../support/child.js';
import { installLaterLines, LATER_LINES } from '../support/node-lines.js';

const FIXTURE = join(ROOT, 'test/fixtures/undici-ways.cjs');

interface Outcome {
  readonly loadedByPreload: boolean;
  readonly results: Readonly<Record<string, object>>;
}

const EXPECTED = {
  first: 'done',
  second: 'rejected',
  success: 1,
  failure: 0,
  ignored: 0,
  rejected: 1,
  inFlight: 0,
  newConnections: 0,
};

describe('undici under the preload', () => {
  before(async function () {
    // Two Nodes come over the network the first time.
    this.timeout(0);
    await installLaterLines();
  });

  async function waysOf(node: string, copy: string): Promise<Outcome> {
    const result = await runNode({ node, nodeArgs: PRELOAD, program: FIXTURE, programArgs: [copy] });
    expect(result.code, result.stderr).to.equal(0);
    return JSON.parse(result.stdout) as Outcome;
  }

  for (const [line, node] of Object.entries({ 'This Node': process.execPath, ...LATER_LINES.nodes })) {
    it(`${line}: the copy within Node is guarded from its first call, and not loaded before`, async () => {
      const { loadedByPreload, results } = await waysOf(node, 'built-in');
      expect(loadedByPreload).to.be.false;
      expect(results).to.include.keys(line === 'This Node' ? ['fetch'] : ['fetch', 'WebSocket']);
      for (const [way, result] of Object.entries(results)) expect(result, way).to.deep.equal(EXPECTED);
    });
  }

  for (const [line, node] of Object.entries(LATER_LINES.nodes)) {
    for (const [name, copy] of [
      ['undici 7', 'undici'],
      ['undici 8', LATER_LINES.undici8],
    ] as const) {
      it(`${line}: each way through ${name} is one call`, async () => {
        const { results } = await waysOf(node, copy);
        expect(Object.keys(results)).to.have.lengthOf.above(20);
        for (const [way, result] of Object.entries(results)) expect(result, way).to.deep.equal(EXPECTED);
      });
    }
  }

  it('keeps those who subscribe to its channels, whatever the garbage collector takes', async () => {
    const source = `
      const { channel } = require('node:diagnostics_channel');
      const server = require('node:http').createServer((_, answer) => answer.end()).listen(0, async () => {
        const pass = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        // Until then Node itself holds what was made at the start.
        await pass(100);
        gc();
        let heard = 0;
        channel('undici:request:create').subscribe(() => heard++);
        for (let turn = 0; turn < 5; turn++) {
          await pass(20);
          gc();
        }
        await fetch('http://127.0.0.1:' + server.address().port);
        console.log(heard);
        process.exit();
      });`;
    const { stdout } = await runNode({
      nodeArgs: ['--expose-gc', ...PRELOAD],
      program: { kind: 'commonjs', source },
    });
    expect(stdout).to.equal('1\n');
  });

  const onePackage = (program: string) => ({ kind: 'module' as const, source: program });

  it('a copy imported from an ES module is guarded', async () => {
    const result = await runNode({
      nodeArgs: ['--import', 'otel-breaker/register'],
      program: onePackage(`
        import { createServer } from 'node:http';
        import { request, fetch as otherFetch } from 'undici';
        import { globalRegistry } from 'otel-breaker';
        const server = createServer((_req, res) => res.end('hello')).listen(0, '127.0.0.1', async () => {
          const url = 'http://127.0.0.1:' + server.address().port;
          await (await request(url)).body.text();
          await (await otherFetch(url)).text();
          await (await fetch(url)).text();
          console.log(globalRegistry.get(url).stats().calls.success);
          process.exit();
        });
      `),
    });
    expectOutput(result, '3\n');
  });

  it('an instrumentation that is disabled before undici is loaded leaves nothing behind', async () => {
    const result = await runNode({
      program: {
        kind: 'commonjs',
        source: `
          const { EventEmitter } = require('node:events');
          const key = Symbol.for('undici.globalDispatcher.1');
          const { init } = EventEmitter;
          const { UndiciBreakerInstrumentation } = require('otel-breaker/instrumentations');
          const before = Reflect.ownKeys(globalThis).length;
          const instrumentation = new UndiciBreakerInstrumentation();
          // Somebody else looks whether there is a dispatcher, and makes emitters.
          const seen = [key in globalThis, globalThis[key], Object.keys(globalThis).length];
          new EventEmitter();
          queueMicrotask(() => {
            instrumentation.disable();
            console.log(seen[0], seen[1], key in globalThis, Reflect.ownKeys(globalThis).length === before, EventEmitter.init === init);
          });
        `,
      },
    });
    expectOutput(result, 'true undefined false true true\n');
  });
});

function expectOutput({ code, stdout, stderr }: ChildResult, expected: string): void {
  expect(stdout, stderr).to.equal(expected);
  expect(code, stderr).to.equal(0);
}
