import { expect } from 'chai';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startApp, stopApps } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { freePort } from '../support/free-port.js';

/** Programs begin when our port answers, long after the application has had its time to be first. */
const WHEN_OPEN = `
  const http = require('node:http'), net = require('node:net');
  const { listen } = net.Server.prototype;
  const port = Number(process.env.PORT);
  const read = (host, path = '/') => new Promise((resolve, reject) => {
    http.get({ host, port, path, agent: false }, (answer) => {
      let text = '';
      answer.on('data', (chunk) => (text += chunk)).on('end', () => resolve(text));
    }).on('error', reject);
  });
  const until = async (look) => {
    for (;;) {
      if (await look().catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const ours = async () => (await read('127.0.0.1', '/healthz')).includes('"healthy"');
  const serve = (...where) => {
    const server = http.createServer((_, response) => response.end('mine')).listen(...where, async () => {
      console.log(await read(server.address().address));
      server.close();
    });
  };`;

const LEFT = /port \d+ is left to the application/g;

describe('our port', () => {
  afterEach(stopApps);
  after(removeTemporaryDirectories);

  async function run(program: string, variable = 'OTEL_EXPORTER_PROMETHEUS_PORT') {
    const port = String(await freePort());
    const app = startApp({
      nodeArgs: PRELOAD,
      program: { kind: 'commonjs', source: `${WHEN_OPEN} until(ours).then(async () => { ${program} })` },
      // No circuit of its calls to this port is to open.
      env: { PORT: port, [variable]: port, OTEL_BREAKER_MODE: 'observe' },
    });
    return app.ends();
  }

  for (const where of [
    'port',
    'String(port)',
    'port, "0.0.0.0"',
    '{ port }',
    '{ port, host: "127.0.0.1" }',
    'port, "localhost"',
  ]) {
    it(`is left to an application that comes late and listens there itself: listen(${where})`, async () => {
      const { code, stdout, stderr } = await run(`serve(${where});`);
      expect(stderr.match(LEFT), stderr).to.have.length(1);
      expect({ stdout, code }).to.deep.equal({ stdout: 'mine\n', code: 0 });
    });
  }

  it('is left to it in a cluster, where its primary listens', async () => {
    const worker = join(temporaryDirectory(), 'worker.cjs');
    writeFileSync(
      worker,
      `require('node:http').createServer((_, answer) => answer.end('mine')).listen(process.env.PORT);`,
    );
    const { code, stdout, stderr } = await run(`
      const cluster = require('node:cluster');
      cluster.setupPrimary({ exec: ${JSON.stringify(worker)}, execArgv: ${JSON.stringify(PRELOAD)} });
      cluster.fork().on('listening', async () => {
        console.log(await read('127.0.0.1'));
        cluster.disconnect();
      });`);
    expect(stderr.match(LEFT), stderr).to.have.length(1);
    expect({ stdout, code }).to.deep.equal({ stdout: 'mine\n', code: 0 });
  });

  it('is left to its own exporter, by which our metrics leave then', async () => {
    const { code, stdout, stderr } = await run(`
      const { MeterProvider } = require('@opentelemetry/sdk-metrics');
      const { PrometheusExporter } = require('@opentelemetry/exporter-prometheus');
      const exporter = new PrometheusExporter({ host: '127.0.0.1', port });
      require('@opentelemetry/api').metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }));
      require('otel-breaker').globalRegistry.getOrCreate('mine');
      await until(async () => (await read('127.0.0.1', '/metrics')).includes('circuit_breaker_state{name="mine"'));
      console.log('found');
      await exporter.shutdown();`);
    expect(stderr.match(LEFT), stderr).to.have.length(1);
    expect({ stdout, code }).to.deep.equal({ stdout: 'found\n', code: 0 });
  });

  it('of the console is left to it as well', async () => {
    const { code, stdout, stderr } = await run('serve(port);', 'OTEL_BREAKER_CONSOLE_PORT');
    expect(stderr.match(LEFT), stderr).to.have.length(1);
    expect({ stdout, code }).to.deep.equal({ stdout: 'mine\n', code: 0 });
  });

  it('stays where the application listens at another address or port', async () => {
    const { code, stdout, stderr } = await run(`
      serve(port, '127.0.0.2');
      serve(0, '127.0.0.1');
      console.log(await ours());`);
    expect(stderr).not.to.match(LEFT);
    expect(stdout).to.contain('true').and.contain('mine');
    expect(code).to.equal(0);
  });

  it('leaves nothing behind in node:net', async () => {
    const { stdout } = await run(`
      console.log(listen === net.Server.prototype.listen, listen.name === net.Server.prototype.listen.name);
      serve(port);
      console.log(listen === net.Server.prototype.listen);`);
    expect(stdout).to.equal('false true\ntrue\nmine\n');
  });
});
