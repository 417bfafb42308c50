import { expect } from 'chai';
import { join } from 'node:path';
import { startApp, stopApps, METRICS_ADDRESS } from '../support/app.js';
import { PRELOAD, runNode, type ChildOptions } from '../support/child.js';
import { findDeadPort } from '../support/servers.js';

const fixture = (name: string) => join(__dirname, '../fixtures/preload', name);
const GUARDED = [...Array<string>(5).fill('ECONNREFUSED'), 'ERR_CIRCUIT_OPEN'].join(' ');

describe('preload in threads and children', () => {
  let DEAD_PORT: string;
  before(async () => (DEAD_PORT = String(await findDeadPort())));
  afterEach(stopApps);

  const ways: Record<string, Omit<ChildOptions, 'program'>> = {
    '--require': { nodeArgs: PRELOAD },
    '--import': { nodeArgs: ['--import', 'otel-breaker/register'] },
    'NODE_OPTIONS and --require': {
      nodeArgs: PRELOAD,
      env: { NODE_OPTIONS: '--require otel-breaker/register' },
    },
  };
  // Each fixture makes six calls in its main thread or process and six in each of its two children, one line each.
  const fixtures = {
    'workers.cjs': 'worker threads',
    'workers.mjs': 'worker threads of an ES module',
    'fork.cjs': 'forked children',
    'cluster.cjs': 'cluster workers',
    'loader.mjs': 'a thread for module hooks, and worker threads beside it',
  };
  for (const [way, options] of Object.entries(ways)) {
    for (const [file, name] of Object.entries(fixtures)) {
      it(`by ${way} guards ${name} each once, without a warning`, async () => {
        const { code, stdout, stderr } = await runNode({
          ...options,
          env: { ...options.env, DEAD_PORT },
          program: fixture(file),
        });
        expect(stdout.trim().split('\n')).to.deep.equal([GUARDED, GUARDED, GUARDED]);
        for (const line of stderr.trim().split('\n'))
          expect(line).to.match(/^otel-breaker: (guarding|metrics at|circuit ".*" opened)[: ]/);
        expect(code).to.equal(0);
      });
    }
  }

  it('prints no word of a port that the parent has, below debug level', async () => {
    const OTEL_EXPORTER_PROMETHEUS_PORT = String(await findDeadPort());
    for (const [level, file, messages] of [
      ['info', 'fork.cjs', 0],
      ['debug', 'fork.cjs', 2],
      // Its primary tells its numbers: it wants no port at all.
      ['debug', 'cluster.cjs', 0],
    ] as const) {
      const { stderr, code } = await runNode({
        nodeArgs: PRELOAD,
        env: { DEAD_PORT, OTEL_EXPORTER_PROMETHEUS_PORT, OTEL_LOG_LEVEL: level, LINGER_MS: '1200' },
        program: fixture(file),
      });
      expect(stderr.match(/is taken/g) ?? [], `${file} at ${level}`).to.have.length(messages);
      expect(stderr.match(/metrics at/g), file).to.have.length(1);
      expect(code).to.equal(0);
    }
  });

  it('is seen by no listener of the cluster, and opens one port for all of it', async () => {
    const { stdout, stderr } = await runNode({ nodeArgs: PRELOAD, program: fixture('cluster-events.cjs') });
    expect(stderr.match(/metrics at/g)).to.have.length(1);
    expect(stdout.trim()).to.equal('exit 0');
  });

  it('opens a port in the main thread only', async () => {
    const app = startApp({
      nodeArgs: PRELOAD,
      env: { DEAD_PORT, LINGER_MS: '1200' },
      program: fixture('workers.cjs'),
    });
    await app.prints('stderr', METRICS_ADDRESS);
    const { stderr, code } = await app.ends();
    expect(stderr.match(/metrics at/g)).to.have.length(1);
    expect(code).to.equal(0);
  });

  it('gives a thread whose environment is bad an error, and leaves its parent alone', async () => {
    const { stdout, code } = await runNode({
      nodeArgs: PRELOAD,
      program: {
        kind: 'commonjs',
        source: `
          const { Worker } = require('node:worker_threads');
          new Worker('', { eval: true, env: { OTEL_BREAKER_MODE: 'maybe' } })
            .on('error', ({ message }) => console.log(message));`,
      },
    });
    expect(stdout).to.contain('OTEL_BREAKER_MODE: got "maybe"');
    expect(code).to.equal(0);
  });
});
