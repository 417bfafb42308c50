import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { METRICS_ADDRESS, sample, scrape, startApp, stopApps } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { serve, stopServers } from '../support/servers.js';

/** Calls each of five hosts, all of which lead here, so many times at a port, and prints what became of the last ones. */
const CALLER = `
  const http = require('node:http');
  const HOSTS = ['a.test', 'b.test', 'c.test', 'd.test', 'e.test'];
  const lookup = (host, { all }, done) => all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
  const call = (host, port) =>
    new Promise((resolve) => {
      http
        .get({ host, port, lookup, agent: false }, (response) => response.resume().on('end', () => resolve(response.statusCode)))
        .on('error', (error) => resolve(error.code));
    });
  process.on('message', async ({ port, times }) => {
    if (port === undefined) return process.disconnect();
    const last = await Promise.all(HOSTS.map(async (host) => {
      let outcome;
      for (let n = 0; n < times; n++) outcome = await call(host, port);
      return outcome;
    }));
    console.log(last.join(' '));
  });
  console.log('ready');`;

const all = (outcome: string) => new RegExp(`^${Array<string>(5).fill(outcome).join(' ')}$`, 'm');

describe('panic under the preload', () => {
  afterEach(async () => {
    await stopApps();
    await stopServers();
    removeTemporaryDirectories();
  });

  async function startCaller(rules: string) {
    const app = startApp({
      nodeArgs: PRELOAD,
      env: { OTEL_BREAKER_CONFIG: rules },
      program: { kind: 'commonjs', source: CALLER },
      ipc: true,
    });
    await app.prints('stdout', /ready/);
    return app;
  }

  it('rejects nothing while all targets fail, says so once, and heeds a threshold that changes', async () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, 'defaults: { openDuration: 1m, initialOpenDuration: 1m }\n');
    const { port, stop } = await serve((_, response) => response.end());
    const app = await startCaller(file);

    // Only who has answered before can be lost.
    app.child.send({ port, times: 1 });
    await app.prints('stdout', all('200'));
    await stop();
    app.child.send({ port, times: 8 });
    await app.prints('stdout', all('ECONNREFUSED'));
    const [said] = await app.prints('stderr', /^.*unrelated targets became unreachable.*$/m);
    expect(said).to.match(
      /^otel-breaker: panic: [345] of 5 unrelated targets became unreachable within 10 s \(threshold 50 %\): .* No call is rejected until it clears$/,
    );
    const [, address] = await app.prints('stderr', METRICS_ADDRESS);
    const page = await scrape(address!);
    const calls = { name: `http://a.test:${port}` };
    expect(sample(page, 'circuit_breaker_state', calls)).to.equal(1);
    expect(page).to.match(/^circuit_breaker_panic\{otel_scope_name="otel-breaker",otel_scope_version="[^"]+"\} 1$/m);
    const unenforced = sample(page, 'circuit_breaker_rejected_calls_total', { ...calls, enforced: 'false' })!;
    // The first to open may have rejected calls before the others followed.
    const enforced = sample(page, 'circuit_breaker_rejected_calls_total', { ...calls, enforced: 'true' })!;
    expect(unenforced + enforced).to.equal(3);
    expect(sample(page, 'circuit_breaker_failed_calls_total', calls)).to.equal(8 - enforced);
    const health = (await (await fetch(new URL('/healthz', address))).json()) as object;
    expect(health).to.include({ healthy: false, open: 5 }).and.have.property('panic').that.contains('of 5 unrelated');

    writeFileSync(file, 'panicThreshold: 1\ndefaults: { openDuration: 1m, initialOpenDuration: 1m }\n');
    await app.prints('stderr', /new rules from .* are in force/);
    app.child.send({ port, times: 1 });
    await app.prints('stdout', all('ERR_CIRCUIT_OPEN'));
    expect(app.output.stderr.match(/No call is rejected/g)).to.have.length(1);
    expect(app.output.stderr.match(/open circuits reject calls again/g)).to.have.length(1);
    expect(sample(await scrape(address!), 'circuit_breaker_panic')).to.equal(0);

    app.child.send({});
    expect((await app.ends()).code).to.equal(0);
  });

  it('clears by itself once the targets are back', async () => {
    const file = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(file, 'defaults: { openDuration: 50ms, successThreshold: 1 }\n');
    const { port, server, stop } = await serve((_, response) => response.end());
    const app = await startCaller(file);
    app.child.send({ port, times: 1 });
    await app.prints('stdout', all('200'));
    await stop();
    app.child.send({ port, times: 8 });
    await app.prints('stderr', /No call is rejected until it clears/);
    await app.prints('stdout', /ECONNREFUSED|ERR_CIRCUIT_OPEN/);
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    let over = false;
    const clears = app.prints('stderr', /still unreachable \(threshold 50 %\): open circuits reject calls again/);
    void clears.then(() => (over = true));
    // As often as it takes until enough circuits have had their probe.
    while (!over) {
      const lines = app.output.stdout.split('\n').length;
      app.child.send({ port, times: 4 });
      await app.prints('stdout', new RegExp(`(.*\n){${lines}}`));
    }
    await clears;
    expect(app.output.stderr.match(/unrelated targets became unreachable/g)).to.have.length(1);
    app.child.send({});
    expect((await app.ends()).code).to.equal(0);
    await stop();
  });
});
