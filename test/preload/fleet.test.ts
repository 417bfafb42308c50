import { expect } from 'chai';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { METRICS_ADDRESS, sample, scrape, startApp, stopApps, type App } from '../support/app.js';
import { PRELOAD, runNode, type ChildResult } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { RedisServer } from '../support/redis-server.js';
import { findDeadPort, serve, stopServers } from '../support/servers.js';

const ROOT = join(__dirname, '../..');

async function rulesFile(fleet: object, defaults: object = {}): Promise<string> {
  const path = join(temporaryDirectory(), 'otel-breaker.json');
  // Of one machine: a fleet otherwise takes loopback for everybody's own.
  await writeFile(path, JSON.stringify({ defaults: { fleet: true, failureThreshold: 3, ...defaults }, fleet }));
  return path;
}

/** A script that makes one call and has nothing more to do. */
const ONE_CALL = `
  require('node:http').get(process.env.TARGET, (response) => {
    response.resume();
    response.on('end', () => console.log('done', response.statusCode));
  }).on('error', (error) => console.log('failed', error.code));
`;

describe('The preload with a fleet', function () {
  let redis: RedisServer;

  beforeEach(async () => {
    redis = await RedisServer.start();
  });

  afterEach(async () => {
    await stopApps();
    await stopServers();
    await redis.remove();
    removeTemporaryDirectories();
  });

  const runOnce = async (env: NodeJS.ProcessEnv): Promise<ChildResult & { readonly ms: number }> => {
    const target = await serve((_request, response) => response.end('ok'));
    const began = performance.now();
    const result = await runNode({
      nodeArgs: PRELOAD,
      env: { TARGET: target.origin, OTEL_BREAKER_METRICS: 'off', OTEL_LOG_LEVEL: 'warn', ...env },
      program: { kind: 'commonjs', source: ONE_CALL },
    });
    return { ...result, ms: performance.now() - began };
  };

  const SERVERS: Readonly<Record<string, () => Promise<NodeJS.ProcessEnv>>> = {
    'is there': async () => ({
      OTEL_BREAKER_CONFIG: await rulesFile({ url: redis.url, namespace: 'shop', mode: 'enforce' }),
    }),
    'stands still': async () => {
      redis.pause();
      return { OTEL_BREAKER_CONFIG: await rulesFile({ url: redis.url, namespace: 'shop', mode: 'enforce' }) };
    },
    'is nowhere': async () => ({
      OTEL_BREAKER_FLEET_URL: `redis://127.0.0.1:${await findDeadPort()}`,
      OTEL_SERVICE_NAME: 'shop',
      OTEL_LOG_LEVEL: 'error',
    }),
    'is this machine': async () => ({ OTEL_BREAKER_CONFIG: await rulesFile({ url: 'local', mode: 'enforce' }) }),
  };
  for (const [where, makeEnvironment] of Object.entries(SERVERS)) {
    it(`lets a process that has nothing more to do end by itself where the engine ${where}`, async () => {
      const { code, stdout, stderr, ms } = await runOnce(await makeEnvironment());
      expect({ code, stdout, stderr }).deep.equal({ code: 0, stdout: 'done 200\n', stderr: '' });
      expect(ms).below(15_000);
    });
  }

  it('says how to install ioredis where it is missing, and goes on', async () => {
    const directory = temporaryDirectory();
    await writeFile(join(directory, 'app.cjs'), "console.log('runs');");
    // From a copy of the build that has no packages around it.
    const { code, stdout, stderr } = await runNode({
      nodeArgs: ['--require', join(ROOT, 'test/fixtures/hide-ioredis.cjs'), ...PRELOAD],
      env: { OTEL_BREAKER_FLEET_URL: redis.url, OTEL_SERVICE_NAME: 'shop', OTEL_BREAKER_METRICS: 'off' },
      program: join(directory, 'app.cjs'),
    });
    expect(code).equal(0);
    expect(stdout).equal('runs\n');
    expect(stderr).contain('npm install ioredis');
  });

  it('does not start with a fleet that nobody can be in', async () => {
    const { code, stderr } = await runOnce({ OTEL_BREAKER_FLEET_URL: redis.url });
    expect(code).equal(1);
    expect(stderr).contain('fleet.namespace').and.contain('OTEL_SERVICE_NAME');
    const bad = await runOnce({ OTEL_BREAKER_FLEET_URL: 'http://user:secret@cache' });
    expect(bad.code).equal(1);
    expect(bad.stderr).contain('OTEL_BREAKER_FLEET_URL').and.not.contain('secret');
  });

  const CALLER = `
    const http = require('node:http');
    process.on('message', ({ url, count }) => {
      let left = count;
      const ended = (answer) => { answers.push(answer); if (--left === 0) process.send(answers); };
      const answers = [];
      for (let call = 0; call < count; call++) {
        http.get(url, { agent: false }, (response) => { response.resume(); ended(String(response.statusCode)); })
          .on('error', (error) => ended(error.code));
      }
    });
    process.send('ready');
  `;

  async function startCaller(env: NodeJS.ProcessEnv): Promise<App> {
    const app = startApp({
      nodeArgs: PRELOAD,
      env,
      program: { kind: 'commonjs', source: CALLER },
      ipc: true,
    });
    await new Promise((resolve) => app.child.once('message', resolve));
    return app;
  }

  const call = (app: App, url: string, count = 1): Promise<string[]> =>
    new Promise((resolve) => {
      app.child.once('message', (answers) => resolve(answers as string[]));
      app.child.send({ url, count });
    });

  it('opens the circuit of a process that has made no call, and neither guards nor counts its own connection', async () => {
    const config = await rulesFile(
      { url: redis.url, namespace: 'shop', mode: 'enforce' },
      { openDuration: '60s', initialOpenDuration: '60s' },
    );
    const callers = await Promise.all(
      ['a', 'b', 'c'].map((domain) =>
        startCaller({ OTEL_BREAKER_CONFIG: config, OTEL_BREAKER_FLEET_DOMAIN: domain, OTEL_LOG_LEVEL: 'debug' }),
      ),
    );
    const dead = `http://127.0.0.1:${await findDeadPort()}/`;
    for (const { prints } of callers.map((app) => app)) await prints('stderr', /the fleet "shop" is reached/);
    const address = (await callers[2]!.prints('stderr', METRICS_ADDRESS))[1]!;
    const seen = await Promise.all([call(callers[0]!, dead, 3), call(callers[1]!, dead, 3)]);
    expect(seen.flat()).include('ECONNREFUSED');
    // Its first call makes the breaker, and the fleet's verdict is known by then.
    const answers: string[] = [];
    for (let tries = 0; tries < 100 && !answers.includes('ERR_CIRCUIT_OPEN'); tries++) {
      answers.push(...(await call(callers[2]!, dead)));
      await new Promise((next) => setTimeout(next, 10));
    }
    expect(answers.filter((answer) => answer === 'ECONNREFUSED').length).at.most(2);
    expect(answers.at(-1)).equal('ERR_CIRCUIT_OPEN');

    const page = await scrape(address);
    expect(page).match(/^circuit_breaker_fleet_connected\S* 1$/m);
    expect(page).match(/^circuit_breaker_fleet_replicas\S* [123]$/m);
    expect(page).match(/^circuit_breaker_fleet_commands_total\{.*result="ok".*\} [1-9]/m);
    expect(page).match(/^circuit_breaker_fleet_state\{.*\} 1$/m);
    expect(page).not.contain('redis://');
    expect(sample(page, 'circuit_breaker_state', { name: dead.slice(0, -1) })).equal(1);
  });

  it('agrees among the workers of a cluster and the threads of a process without a server', async () => {
    const config = await rulesFile(
      { url: 'local', mode: 'enforce' },
      { openDuration: '60s', initialOpenDuration: '60s' },
    );
    const dead = `http://127.0.0.1:${await findDeadPort()}/`;
    const source = `
      const cluster = require('node:cluster');
      const http = require('node:http');
      const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
      const { writeFileSync } = require('node:fs');
      const get = (done) => http.get(${JSON.stringify(dead)}, { agent: false }).on('error', (error) => done(error.code));
      if (cluster.isPrimary) {
        const workers = [cluster.fork(), cluster.fork()];
        const said = [];
        let ready = 0;
        for (const worker of workers) worker.on('message', (message) => {
          if (message === 'ready' && ++ready === 2) setTimeout(() => workers[0].send('die'), 1000);
          else if (message === 'died') setTimeout(() => workers[1].send('ask'), 500);
          else if (message !== 'ready') { console.log(JSON.stringify(message)); process.exit(); }
        });
      } else {
        const body = 'const http = require("node:http"); const { parentPort } = require("node:worker_threads");' +
          'const get = (done) => http.get(' + JSON.stringify(${JSON.stringify(dead)}) + ', { agent: false }).on("error", (error) => done(error.code));' +
          'get(() => {}); parentPort.on("message", () => get((code) => parentPort.postMessage(code)));';
        const thread = new Worker(body, { eval: true });
        process.on('message', (order) => {
          if (order === 'die') {
            let left = 3;
            for (let call = 0; call < 3; call++) get(() => { if (--left === 0) process.send('died'); });
          } else get((own) => { thread.once('message', (ofThread) => process.send({ own, ofThread })); thread.postMessage('ask'); });
        });
        get(() => process.send('ready'));
      }
    `;
    const file = join(temporaryDirectory(), 'app.cjs');
    await writeFile(file, source);
    const { stdout, stderr } = await runNode({
      nodeArgs: ['--require', join(ROOT, 'dist/src/register.js')],
      env: { OTEL_BREAKER_CONFIG: config, OTEL_LOG_LEVEL: 'warn' },
      program: file,
    });
    expect(JSON.parse(stdout), stderr).deep.equal({ own: 'ERR_CIRCUIT_OPEN', ofThread: 'ERR_CIRCUIT_OPEN' });
  });
});
