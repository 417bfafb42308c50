import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BreakerView } from '../../src/console/api.js';
import { startApp, stopApps, type App } from '../support/app.js';
import { ROOT } from '../support/child.js';
import { findDeadPort } from '../support/servers.js';

const PM2 = join(ROOT, 'node_modules/pm2/bin/pm2-runtime');
const PRELOADED = `--require ${join(ROOT, 'dist/src/register.js')}`;

describe('cluster mode of PM2', function () {
  this.timeout(120_000);
  let folder: string;
  let app: App | undefined;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'otel-breaker-pm2-'))));
  afterEach(async () => {
    // It ends its workers when it is asked to end.
    await app?.stop('SIGINT');
    await stopApps();
    rmSync(folder, { recursive: true, force: true });
  });

  it('has a console and metrics of each worker at a port of its own, under the variables of its file', async () => {
    const target = `http://127.0.0.1:${await findDeadPort()}`;
    const first = await findPorts(2);
    writeFileSync(
      join(folder, 'app.cjs'),
      `const http = require('node:http');
       http.get(${JSON.stringify(target)}).on('error', () => {});
       setInterval(() => {}, 1000);`,
    );
    const shop = {
      name: 'shop',
      script: join(folder, 'app.cjs'),
      exec_mode: 'cluster',
      instances: 2,
      node_args: PRELOADED,
      increment_var: 'OTEL_EXPORTER_PROMETHEUS_PORT',
      env: { OTEL_EXPORTER_PROMETHEUS_PORT: first, OTEL_BREAKER_MODE: 'observe' },
    };
    writeFileSync(join(folder, 'ecosystem.config.cjs'), `module.exports = ${JSON.stringify({ apps: [shop] })};`);
    app = startApp({
      program: PM2,
      programArgs: ['start', join(folder, 'ecosystem.config.cjs')],
      env: { PM2_HOME: join(folder, 'home'), PM2_DISABLE_VERSION_CHECK: 'true' },
    });
    for (const port of [first, first + 1]) {
      const { breakers } = await askUntilThere<{ breakers: BreakerView[] }>(`http://127.0.0.1:${port}/breakers`);
      expect(breakers.map(({ name, mode }) => [name, mode])).to.deep.equal([[target, 'observe']]);
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      expect(metrics).to.include('circuit_breaker_failed_calls_total');
    }
  });
});

/** The first of so many free ports in a row. */
async function findPorts(count: number): Promise<number> {
  const { createServer } = await import('node:net');
  const isFree = (port: number) =>
    new Promise<boolean>((resolve) => {
      const server = createServer().once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const free = await Promise.all(Array.from({ length: count }, (_, index) => isFree(first + index)));
    if (free.every(Boolean)) return first;
  }
}

/** Its workers wait five seconds for a primary that takes their numbers. */
async function askUntilThere<T>(url: string): Promise<T> {
  for (;;) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok === true) {
      const body = (await answer.json()) as T & { readonly breakers: unknown[] };
      if (body.breakers.length > 0) return body;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
