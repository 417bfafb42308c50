import { once } from 'node:events';
import { realpathSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import type { HealthInFull } from '../../src/console/api.js';
import { METRICS_ADDRESS, sample, scrape } from '../support/app.js';
import { PRELOAD, ROOT, runNode, spawnNode, type ChildResult } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';

const GOOD = 'rules:\n  - match: { host: api.example.com }\n    name: example\n';
// An opening that lasts for the whole test, however slow the machine is.
const DEFAULTS = 'defaults: { failureThreshold: 2, initialOpenDuration: 10s }\n';
const BAD = 'rules:\n  - match: { host: api.example.com }\n    minimumCalls: 0\n    openDuraton: 1s\n';

describe('the rules file under the preload', () => {
  afterEach(removeTemporaryDirectories);

  function write(text: string, name = 'rules.yaml'): string {
    const file = join(temporaryDirectory(), name);
    writeFileSync(file, text);
    return file;
  }

  function run(config: string, source: string, env: NodeJS.ProcessEnv = {}): Promise<ChildResult> {
    return runNode({
      nodeArgs: PRELOAD,
      env: { OTEL_BREAKER_CONFIG: config, ...env },
      program: { kind: 'commonjs', source },
    });
  }

  it('counts as missing where the permission model lets nobody look for one', async () => {
    const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission';
    const readable = [ROOT, realpathSync(join(ROOT, 'node_modules'))].map((path) => `--allow-fs-read=${path}`);
    const { code, stderr } = await runNode({
      nodeArgs: [flag, ...readable, '--no-warnings', '--require', join(ROOT, 'dist/src/register.js')],
      cwd: temporaryDirectory(),
      program: { kind: 'commonjs', source: 'setTimeout(() => {}, 800)' },
    });
    expect(stderr).to.match(/^otel-breaker: guarding http, undici \(mode enforce\); no rules file; metrics at .*\n$/);
    expect(code).to.equal(0);
  });

  it('is named at the start, and does not keep the process alive', async () => {
    const file = write(GOOD);
    const { code, stdout } = await run(file, 'console.log("ran")');
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: 'ran\n' });
    // Short-lived processes say nothing of the start.
    const { stderr } = await run(file, 'setTimeout(() => {}, 800)');
    expect(stderr).to.contain(`rules from ${file}`);
  });

  it('ends the process with code 1 and every problem where it is bad, before the application runs', async () => {
    const file = write(BAD);
    const { code, stdout, stderr } = await run(file, 'console.log("ran")', { OTEL_LOG_LEVEL: 'none' });
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
    expect(stderr).to.contain(
      `${file}:3:19 rules[0].minimumCalls: got 0; the circuit would open on its first failure. Use a whole number of 1 or more.\n` +
        `${file}:4:5 rules[0].openDuraton: got "1s"; this key is unknown and would have no effect. Did you mean "openDuration"?\n`,
    );
    expect(stderr).to.contain('OTEL_BREAKER_CONFIG_STRICT=false');
  });

  it('leaves the built-in defaults where it is bad and need not be good', async () => {
    const source = `
      const { guard } = require('./dist/src/runtime.js').getRuntime();
      console.log(guard.breakerOf({ system: 'http', scheme: 'http', host: 'api.example.com', port: 80 }).config.minimumCalls);`;
    const { code, stdout, stderr } = await run(write(BAD), source, { OTEL_BREAKER_CONFIG_STRICT: 'false' });
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: '10\n' });
    expect(stderr).to.contain('got 0;');
  });

  it('ends the process where OTEL_BREAKER_CONFIG names nothing', async () => {
    const { code, stderr } = await run('/nowhere/rules.yaml', '');
    expect(code).to.equal(1);
    expect(stderr).to.contain('there is no such file');
  });

  it('ends the process where a variable of the environment is bad', async () => {
    const { code, stderr } = await run(write(GOOD), '', { OTEL_BREAKER_MODE: 'onn' });
    expect(code).to.equal(1);
    expect(stderr).to.contain('OTEL_BREAKER_MODE: got "onn";');
  });

  it('loads neither a YAML parser nor a validator where there is no file', async () => {
    const source = `
      const loaded = Object.keys(require.cache).filter((file) => /node_modules.(yaml|valibot)./.test(file));
      console.log(loaded.length);`;
    const none = await runNode({ nodeArgs: PRELOAD, program: { kind: 'commonjs', source } });
    expect(none.stdout).to.equal('0\n');
    const json = await run(write('{ "rules": [] }', 'rules.json'), source.replace('(yaml|valibot)', '(yaml)'));
    expect(json.stdout).to.equal('0\n');
    const yaml = await run(write(GOOD), source);
    expect(Number(yaml.stdout)).to.be.greaterThan(0);
  });

  it('decides what happens to calls, also after it has changed', async () => {
    const server = await listen();
    const file = write(`mode: observe\n${DEFAULTS}`);
    try {
      const child = spawnNode({
        nodeArgs: PRELOAD,
        env: { OTEL_BREAKER_CONFIG: file },
        program: { kind: 'commonjs', source: CALLER },
        ipc: true,
      });
      let exited = false;
      const ended = once(child, 'close').then(() => (exited = true));
      let output = '';
      let log = '';
      child.stdout!.on('data', (text: Buffer) => (output += text.toString()));
      child.stderr!.on('data', (text: Buffer) => {
        log += text.toString();
      });
      const says = async (stream: 'stdout' | 'stderr', text: () => string, pattern: RegExp) => {
        while (!pattern.test(text()) && !exited) await Promise.race([once(child[stream]!, 'data'), ended]);
        expect(text()).to.match(pattern);
      };
      await says('stdout', () => output, /ready/);
      child.send(portOf(server));
      // Observed, every call is made, however many have failed.
      await says('stdout', () => output, /500 500 500 500/);
      await says('stderr', () => log, METRICS_ADDRESS);
      const metrics = METRICS_ADDRESS.exec(log)![1]!;
      const reloaded = async () => sample(await scrape(metrics), 'circuit_breaker_rules_last_reload_successful');
      const problem = async () =>
        ((await (await fetch(new URL('/healthz', metrics))).json()) as HealthInFull).rulesProblem;
      const modes = async () => sample(await scrape(metrics), 'circuit_breaker_mode');
      expect([await reloaded(), await problem(), await modes()]).to.deep.equal([undefined, null, 1]);
      writeFileSync(file, `mode: enforce\n${DEFAULTS}`);
      await says('stderr', () => log, /new rules from .* are in force/);
      child.send(portOf(server));
      await says('stdout', () => output, /ERR_CIRCUIT_OPEN ERR_CIRCUIT_OPEN ERR_CIRCUIT_OPEN ERR_CIRCUIT_OPEN/);
      expect([await reloaded(), await problem(), await modes()]).to.deep.equal([1, null, undefined]);
      writeFileSync(file, 'mode: sometimes\n');
      await says('stderr', () => log, /the rules before stay in force.*mode: got "sometimes"/s);
      expect(await reloaded()).to.equal(0);
      expect(await problem()).to.contain('mode: got "sometimes"');
      // A breaker that is off is not described, and comes back with its counts.
      const allowed = async () => sample(await scrape(metrics), 'circuit_breaker_calls_total', { status: 'allowed' });
      const before = await allowed();
      expect(before).to.be.greaterThan(3);
      log = '';
      writeFileSync(file, `mode: off\n${DEFAULTS}`);
      await says('stderr', () => log, /new rules from .* are in force/);
      expect(await scrape(metrics)).not.to.match(/^circuit_breaker_(?!rules)/m);
      log = '';
      writeFileSync(file, DEFAULTS);
      await says('stderr', () => log, /new rules from .* are in force/);
      expect(await allowed()).to.equal(before);
      child.send('end');
      await ended;
      expect(child.exitCode).to.equal(0);
    } finally {
      server.close();
    }
  });
});

/** Makes four calls, one after the other, for each port it is told, and prints what became of them. */
const CALLER = `
  const http = require('node:http');
  function call(port) {
    return new Promise((resolve) => {
      http
        .get({ host: '127.0.0.1', port, agent: false }, (response) => response.resume().on('end', () => resolve(response.statusCode)))
        .on('error', (error) => resolve(error.code));
    });
  }
  process.on('message', async (port) => {
    if (port === 'end') return process.disconnect();
    const outcomes = [];
    for (let calls = 0; calls < 4; calls++) outcomes.push(await call(port));
    console.log(outcomes.join(' '));
  });
  console.log('ready');`;

async function listen(): Promise<Server> {
  const server = createServer((_request, response) => response.writeHead(500).end());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
