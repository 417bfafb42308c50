import { expect } from 'chai';
import { once } from 'node:events';
import { realpathSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { METRICS_ADDRESS, sample, scrape, startApp, stopApps } from '../support/app.js';
import { PRELOAD, ROOT, runNode, spawnNode, type ChildOptions } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { findDeadPort, serve, stopServers } from '../support/servers.js';

type Program = Exclude<ChildOptions['program'], string>;

/** Eight calls to a dead port, one after the other: the codes of their errors, one a line. */
const CALLS = `
  const call = () => new Promise((resolve) => request({ host: '127.0.0.1', port: process.env.DEAD_PORT })
    .on('error', ({ code }) => resolve(code)).end());
  const main = async () => { for (let i = 0; i < 8; i++) console.log(await call()); };
  main();
`;
const COMMONJS: Program = { kind: 'commonjs', source: `const { request } = require('node:http');${CALLS}` };
const MODULE: Program = { kind: 'module', source: `import { request } from 'node:http';${CALLS}` };

// Five failures open the circuit; a client that were patched twice would need three.
const GUARDED = [...Array<string>(5).fill('ECONNREFUSED'), ...Array<string>(3).fill('ERR_CIRCUIT_OPEN')].join('\n');

const commonjs = (source: string): Program => ({ kind: 'commonjs', source });

describe('preload', () => {
  let DEAD_PORT: string;
  before(async () => (DEAD_PORT = String(await findDeadPort())));
  afterEach(async () => {
    await stopApps();
    await stopServers();
  });

  const ways: Record<string, Omit<ChildOptions, 'program'>> = {
    '--require': { nodeArgs: ['--require', 'otel-breaker/register'] },
    '--import': { nodeArgs: ['--import', 'otel-breaker/register'] },
    '--require and --import': { nodeArgs: [...PRELOAD, '--import', 'otel-breaker/register'] },
    '--require twice': { nodeArgs: [...PRELOAD, ...PRELOAD] },
    NODE_OPTIONS: { env: { NODE_OPTIONS: '--require otel-breaker/register' } },
    'NODE_OPTIONS and --import': {
      env: { NODE_OPTIONS: '--require otel-breaker/register' },
      nodeArgs: ['--import', 'otel-breaker/register'],
    },
  };
  for (const [way, options] of Object.entries(ways)) {
    for (const program of [COMMONJS, MODULE]) {
      it(`by ${way} guards a ${program.kind} application once, and says that its circuit opened`, async () => {
        const result = await runNode({ ...options, env: { ...options.env, DEAD_PORT }, program });
        expect(result.stdout.trim()).to.equal(GUARDED);
        // Short-lived processes say nothing of the start.
        const opened =
          /^otel-breaker: circuit "http:.*" opened: .*\n(otel-breaker: guarding [\w, ]+ \(mode enforce\)\n)?$/;
        expect(result.stderr).to.match(opened);
        expect(result.code).to.equal(0);
      });
    }
  }

  const IN_THREAD = `const { Worker } = require('node:worker_threads');
    new Worker(${JSON.stringify(COMMONJS.source)}, { eval: true })`;
  for (const [where, source] of [
    ['the application', `${COMMONJS.source} process.once('beforeExit'`],
    ['a thread of it', `${IN_THREAD}.once('exit'`],
  ] as const) {
    it(`lets the application live on where a circuit of ${where} opens and nobody reads stderr any more`, async () => {
      const program = commonjs(`${source}, () => setTimeout(() => console.log('alive'), 100));`);
      const child = spawnNode({ nodeArgs: PRELOAD, env: { DEAD_PORT }, program });
      child.stderr!.destroy();
      let stdout = '';
      child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text));
      const [code] = (await once(child, 'close')) as [number | null];
      expect(stdout.trim()).to.equal(`${GUARDED}\nalive`);
      expect(code).to.equal(0);
    });
  }

  it('with two copies of the package guards once', async () => {
    const program = commonjs(`
      for (const key of Object.keys(require.cache)) if (key.includes('dist')) delete require.cache[key];
      delete globalThis[Symbol.for('otel-breaker.started')];
      require('otel-breaker/register');
      ${COMMONJS.source}`);
    const { stdout, code } = await runNode({ nodeArgs: PRELOAD, env: { DEAD_PORT }, program });
    expect(stdout.trim()).to.equal(GUARDED);
    expect(code).to.equal(0);
  });

  it('guards requires and imports of every form in one application', async () => {
    const program: Program = {
      kind: 'module',
      source: `
        import http, { get } from 'http';
        import * as all from 'node:http';
        import { createRequire } from 'node:module';
        const required = createRequire(import.meta.url)('http');
        const { default: dynamic } = await import('node:http');
        for (const get1 of [http.get, get, all.get, required.get, dynamic.get, all.default.get]) {
          await new Promise((resolve) => get1({ host: '127.0.0.1', port: process.env.DEAD_PORT })
            .on('error', ({ code }) => resolve(console.log(code))));
        }`,
    };
    const { stdout } = await runNode({ nodeArgs: PRELOAD, env: { DEAD_PORT }, program });
    expect(stdout.trim().split('\n')).to.deep.equal([...Array<string>(5).fill('ECONNREFUSED'), 'ERR_CIRCUIT_OPEN']);
  });

  describe('leaves the process as it is:', () => {
    const exits: Record<string, [source: string, code: number, stderr: RegExp]> = {
      'an end at once': ['', 0, /^(otel-breaker: guarding .*\n)?$/],
      'an exit code': ['process.exitCode = 7', 7, /^(otel-breaker: guarding .*\n)?$/],
      'process.exit': ['process.exit(3)', 3, /^(otel-breaker: guarding .*\n)?$/],
      'an uncaught error': ['throw new TypeError("mine")', 1, /TypeError: mine/],
      'an unhandled rejection': ['Promise.reject(new TypeError("mine"))', 1, /TypeError: mine/],
      'an end after our port was opened': [
        'setTimeout(() => {}, 800)',
        0,
        /metrics at http:\/\/127\.0\.0\.1:\d+\/metrics \(console at http:\/\/127\.0\.0\.1:\d+\/\)\n$/,
      ],
      'a rejected call nobody listens to': [
        `require('otel-breaker').globalRegistry.getOrCreate('http://api.invalid').forceOpen();
         require('http').get('http://api.invalid/');`,
        1,
        /Unhandled 'error' event[^]*CircuitOpenError: Circuit "http:\/\/api\.invalid" is open: opened by hand/,
      ],
    };
    for (const [name, [source, code, stderr]] of Object.entries(exits)) {
      it(name, async () => {
        const result = await runNode({ nodeArgs: PRELOAD, program: commonjs(source) });
        expect(result.code).to.equal(code);
        expect(result.stderr).to.match(stderr);
        expect(result.stdout).to.equal('');
      });
    }

    it('listeners of process, handles and globals', async () => {
      const program = commonjs(`
        setTimeout(() => console.log(JSON.stringify({
          listeners: process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
          handles: process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap').sort(),
          globals: Object.getOwnPropertyNames(globalThis).sort(),
        })), 50)`);
      const [plain, preloaded] = await Promise.all([runNode({ program }), runNode({ nodeArgs: PRELOAD, program })]);
      expect(JSON.parse(preloaded.stdout)).to.deep.equal(JSON.parse(plain.stdout));
    });

    it('an end while a scraper keeps its connection', async () => {
      const app = startApp({
        nodeArgs: PRELOAD,
        program: commonjs(`
        const timer = setInterval(() => {}, 1_000);
        process.once('SIGUSR2', () => clearInterval(timer));
        console.log('ready');`),
      });
      const [, address] = await app.prints('stderr', METRICS_ADDRESS);
      const answer = await fetch(address!);
      await answer.text();
      app.child.kill('SIGUSR2');
      expect((await app.ends()).code).to.equal(0);
    });

    it('the timers that it fakes, which hold nothing of ours back, not even what is loaded later', async () => {
      const app = startApp({
        nodeArgs: PRELOAD,
        program: commonjs(`
        setInterval(() => {}, 1_000);
        require('node:http').get('http://127.0.0.1:' + process.env.DEAD_PORT).on('error', () => {});
        for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'])
          globalThis[name] = () => ({ unref() {} });`),
        env: { DEAD_PORT },
      });
      const [, address] = await app.prints('stderr', METRICS_ADDRESS);
      const page = await scrape(address!);
      expect(sample(page, 'circuit_breaker_failed_calls_total', { name: `http://127.0.0.1:${DEAD_PORT}` })).to.equal(1);
    });

    it('a deprecation or warning is never printed', async () => {
      const { stderr } = await runNode({
        nodeArgs: [...PRELOAD, '--trace-warnings', '--pending-deprecation'],
        env: { DEAD_PORT },
        program: COMMONJS,
      });
      expect(stderr).not.to.match(/warning/i);
    });
  });

  it('holds no copy of a client that its application has let go of and loaded anew', async () => {
    const { stdout, stderr } = await runNode({
      nodeArgs: [...PRELOAD, '--expose-gc'],
      program: join(ROOT, 'test/fixtures/preload/loads-anew.cjs'),
    });
    expect(stderr).to.not.match(/error/i);
    const held = Object.entries(JSON.parse(stdout) as Record<string, number>);
    // undici itself holds one: the first dispatcher of all copies.
    expect(held.filter(([, copies]) => copies > 1)).to.deep.equal([]);
    expect(held).to.have.length(7);
  });

  describe('says', () => {
    it('nothing with OTEL_LOG_LEVEL=none', async () => {
      const { stderr, code } = await runNode({
        nodeArgs: PRELOAD,
        env: { OTEL_LOG_LEVEL: 'none' },
        program: commonjs('setTimeout(() => {}, 800)'),
      });
      expect(stderr).to.equal('');
      expect(code).to.equal(0);
    });

    it('nothing of a port with OTEL_BREAKER_METRICS=off or OTEL_SDK_DISABLED', async () => {
      for (const env of [{ OTEL_BREAKER_METRICS: 'off' }, { OTEL_SDK_DISABLED: 'true' }]) {
        const { stderr } = await runNode({ nodeArgs: PRELOAD, env, program: commonjs('setTimeout(() => {}, 800)') });
        expect(stderr).to.match(/^otel-breaker: guarding .*\n$/);
      }
    });

    it('which port is taken, who else may have it and what moves it, and the application goes on', async () => {
      const { port } = await serve((_, res) => res.end());
      const { code, stderr, stdout } = await runNode({
        nodeArgs: PRELOAD,
        env: { OTEL_EXPORTER_PROMETHEUS_PORT: String(port), DEAD_PORT },
        program: commonjs(`setTimeout(() => { ${COMMONJS.source} }, 800)`),
      });
      const messages = stderr.split('\n').filter((line) => line.includes(`port ${port}`));
      expect(messages).to.have.length(1);
      expect(messages[0]).to.contain('another service').and.contain('OTEL_EXPORTER_PROMETHEUS_PORT');
      expect(stdout.trim()).to.equal(GUARDED);
      expect(code).to.equal(0);
    });

    it('once what is guarded, by which rules, and where to look, in one line and not before that is known', async () => {
      const { stderr } = await runNode({
        nodeArgs: PRELOAD,
        env: { OTEL_BREAKER_MODE: 'observe' },
        program: commonjs('setTimeout(() => {}, 800)'),
      });
      expect(stderr).to.match(
        /^otel-breaker: guarding http[\w, ]* \(mode observe\); no rules file; metrics at http:\/\/127\.0\.0\.1:\d+\/metrics \(console at http:\/\/127\.0\.0\.1:\d+\/\)\n$/,
      );
    });

    it('that metrics leave through the provider of the application, and how to get a console then', async () => {
      const { stderr } = await runNode({
        nodeArgs: PRELOAD,
        program: commonjs(`
          const { MeterProvider } = require('@opentelemetry/sdk-metrics');
          require('@opentelemetry/api').metrics.setGlobalMeterProvider(new MeterProvider());
          setTimeout(() => {}, 800);`),
      });
      expect(stderr).to.match(
        /^otel-breaker: guarding .*; metrics through the provider of the application .*OTEL_BREAKER_CONSOLE_PORT.*\n$/,
      );
    });

    it('which variable is unknown and what was probably meant, also where it ends at once', async () => {
      const { stderr, code } = await runNode({
        nodeArgs: PRELOAD,
        env: { OTEL_BREAKER_MDOE: 'observe' },
        program: commonjs(''),
      });
      expect(stderr).to.equal(
        'otel-breaker: OTEL_BREAKER_MDOE is unknown and has no effect. Did you mean OTEL_BREAKER_MODE?\n',
      );
      expect(code).to.equal(0);
    });

    it('nothing in a package manager, and leaves the port to the service that one starts', async () => {
      const folder = temporaryDirectory();
      const source = `require('node:http').get('http://127.0.0.1:${DEAD_PORT}/').on('error', () => {}); setTimeout(() => {}, 20_000);`;
      writeFileSync(join(folder, 'app.cjs'), source);
      writeFileSync(
        join(folder, 'package.json'),
        JSON.stringify({ scripts: { start: `exec "${process.execPath}" app.cjs` } }),
      );
      const port = await findDeadPort();
      const app = startApp({
        program: process.env.npm_execpath ?? realpathSync(join(dirname(process.execPath), 'npm')),
        programArgs: ['start'],
        cwd: folder,
        env: {
          NODE_OPTIONS: `--require ${join(ROOT, 'dist/src/register.js')}`,
          OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
        },
      });
      try {
        const [, address] = await app.prints('stderr', METRICS_ADDRESS);
        const page = await scrape(address!);
        expect(sample(page, 'circuit_breaker_failed_calls_total', { name: `http://127.0.0.1:${DEAD_PORT}` })).to.equal(
          1,
        );
        expect(app.output.stderr.match(/otel-breaker: /g)).to.have.length(1);
      } finally {
        await app.stop();
        removeTemporaryDirectories();
      }
    });

    it('a host that cannot be had, and the application goes on', async () => {
      const { code, stderr } = await runNode({
        nodeArgs: PRELOAD,
        env: { OTEL_EXPORTER_PROMETHEUS_HOST: '192.0.2.1' },
        program: commonjs('setTimeout(() => {}, 800)'),
      });
      expect(stderr).to.contain('cannot listen on 192.0.2.1:0: metrics are not published');
      expect(code).to.equal(0);
    });

    for (const way of ['--require', '--import']) {
      it(`every bad variable of the environment by ${way}, and stops before the application runs`, async () => {
        const { code, stderr, stdout } = await runNode({
          nodeArgs: [way, 'otel-breaker/register'],
          env: { OTEL_BREAKER_MODE: 'enforced', OTEL_EXPORTER_PROMETHEUS_PORT: '99999', OTEL_LOG_LEVEL: 'none' },
          program: commonjs('console.log("ran")'),
        });
        expect(code).to.equal(1);
        expect(stdout).to.equal('');
        expect(stderr.trim().split('\n')).to.have.length(3);
        expect(stderr).to.match(/otel-breaker: not started\. Correct this\.\n$/);
        expect(stderr).to.contain('OTEL_BREAKER_MODE: got "enforced"').and.contain('"enforce", "observe" or "off"');
        expect(stderr).to.contain('OTEL_EXPORTER_PROMETHEUS_PORT: got "99999"');
      });
    }
  });
});
