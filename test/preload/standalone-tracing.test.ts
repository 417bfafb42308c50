import { expect } from 'chai';
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PRELOAD, ROOT, runNode } from '../support/child.js';
import { exportingTo, serveCollector } from '../support/collector.js';
import { findDeadPort, stopServers } from '../support/servers.js';

const CALL = `
  require('node:http').get(process.env.DEAD).on('error', ({ code }) => console.log('called: ' + code));
`;

describe('stand-alone tracing', () => {
  let env: NodeJS.ProcessEnv;
  let folder: string | undefined;

  before(async () => {
    const rules = join(__dirname, '../fixtures/standalone.yaml');
    env = { DEAD: `http://127.0.0.1:${await findDeadPort()}`, OTEL_BREAKER_CONFIG: rules };
  });
  afterEach(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true });
    folder = undefined;
    await stopServers();
  });

  const run = (more: NodeJS.ProcessEnv, cwd?: string, source = CALL, kind: 'commonjs' | 'module' = 'commonjs') =>
    runNode({
      nodeArgs: PRELOAD,
      program: { kind, source },
      env: { ...env, OTEL_BREAKER_METRICS: 'off', OTEL_NODE_RESOURCE_DETECTORS: 'none', ...more },
      ...(cwd !== undefined && { cwd }),
    });

  /** A folder with us and what we depend on, and nothing that makes traces. */
  async function installAlone(...also: readonly string[]): Promise<string> {
    folder = await mkdtemp(join(tmpdir(), 'otel-breaker-alone-'));
    const modules = join(folder, 'node_modules');
    const needed = [
      '@opentelemetry/api',
      '@opentelemetry/exporter-prometheus',
      '@opentelemetry/sdk-metrics',
      'valibot',
      'yaml',
    ];
    for (const name of [...needed, ...also]) {
      await mkdir(dirname(join(modules, name)), { recursive: true });
      await symlink(join(ROOT, 'node_modules', name), join(modules, name));
    }
    await cp(join(ROOT, 'dist'), join(modules, 'otel-breaker/dist'), { recursive: true });
    await cp(join(ROOT, 'package.json'), join(modules, 'otel-breaker/package.json'));
    return folder;
  }

  it('exports what the process has done before it ends by itself', async () => {
    const collector = await serveCollector();
    const { code, stderr } = await run({ ...exportingTo(collector), OTEL_BSP_SCHEDULE_DELAY: '60000' });
    expect(code, stderr).to.equal(0);
    const [span, ...others] = collector.spans;
    expect(others).to.deep.equal([]);
    expect(span!.scope).to.equal('@opentelemetry/instrumentation-http');
    expect(span!.events.map(({ name }) => name)).to.include('circuit_breaker.state_transition');
  });

  for (const [kind, source] of [
    ['commonjs', `require(process.env.SDK + '.cjs'); ${CALL}`],
    [
      'module',
      `await import(process.env.SDK + '.mjs');
      (await import('node:http')).get(process.env.DEAD).on('error', () => {});`,
    ],
  ] as const) {
    it(`gives way to an SDK that the application brings after all: ${kind}`, async () => {
      const collector = await serveCollector();
      const SDK = join(ROOT, 'test/fixtures/coexistence/matrix/sdk');
      const { stdout, stderr } = await run(
        { ...exportingTo(collector), OTEL_LOG_LEVEL: 'debug', SDK },
        ROOT,
        source,
        kind,
      );
      expect(stdout + stderr).to.match(/brings an OpenTelemetry SDK: stand-alone tracing gives way/);
      expect(stdout + stderr).not.to.match(/duplicate|overwrit/i);
      const events = collector.spans.flatMap((span) => span.events.map(({ name }) => name));
      expect(events.filter((name) => name === 'circuit_breaker.state_transition')).to.have.length(1);
    });
  }

  it('prints spans where OTEL_TRACES_EXPORTER is console', async () => {
    const { stdout } = await run({ OTEL_TRACES_EXPORTER: 'console' });
    expect(stdout).to.contain('called: ECONNREFUSED');
    expect(stdout)
      .to.match(/name: 'GET'/)
      .and.to.match(/name: 'circuit_breaker.state_transition'/);
  });

  it('names the packages that are missing, and the process runs all the same', async () => {
    const { code, stdout, stderr } = await run({ OTEL_TRACES_EXPORTER: 'otlp' }, await installAlone());
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: 'called: ECONNREFUSED\n' });
    expect(stderr).to.contain(
      'OTEL_TRACES_EXPORTER is set, but there is nothing to make traces with. ' +
        'Run: npm install @opentelemetry/sdk-node @opentelemetry/instrumentation-http\n',
    );
  });

  it('names the SDK alone where an instrumentation is there', async () => {
    const alone = await installAlone('@opentelemetry/instrumentation-http');
    const { stderr } = await run({ OTEL_TRACES_EXPORTER: 'otlp' }, alone);
    expect(stderr).to.match(/Run: npm install @opentelemetry\/sdk-node$/m);
  });

  it('says nothing where no traces are asked for', async () => {
    const { stderr } = await run({}, await installAlone());
    expect(stderr).not.to.contain('npm install');
  });
});
