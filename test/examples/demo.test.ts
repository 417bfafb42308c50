import { expect } from 'chai';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from '../support/child.js';

// As many as `--client all` takes.
const CLIENTS = 10;

const DEMO = ['--require', 'tsx/cjs', join(ROOT, 'examples/demo/demo.ts')];

/** Processes that were started with this folder for their temporary files, or work in it: whoever their parent is by now. */
function processesOf(folder: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0)
    .filter((pid) => {
      const read = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'latin1');
      try {
        const ended = read('stat').replace(/^.*\)/, '').includes(' Z ');
        // Redis writes its title over both.
        const texts = [read('environ'), read('cmdline'), readlinkSync(`/proc/${pid}/cwd`)];
        return !ended && texts.some((text) => text.includes(folder));
      } catch {
        // Gone already, or another user's.
        return false;
      }
    });
}

async function noneOf(folder: string): Promise<void> {
  while (processesOf(folder).length > 0) await sleep(50);
}

/** Resolves when so many clients of the app have answered all calls of a second. */
async function firstCalls({ stdout }: ChildProcess, clients = 1): Promise<void> {
  const answered = new Set<string>();
  for await (const line of createInterface(stdout!)) {
    const client = /s {2}(\S+) +\w+ +ok 20/.exec(line)?.[1];
    if (client !== undefined && answered.add(client).size === clients) return;
  }
  throw new Error(`The demo ended before its app answered; these did: ${[...answered].join(', ')}`);
}

describe('the demo', function () {
  this.timeout(120_000);
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join('/tmp', 'demo-'));
    // PostgreSQL runs as another user where this is root.
    chmodSync(folder, 0o755);
  });
  afterEach(() => {
    for (const pid of processesOf(folder)) process.kill(pid, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  const environment = (env: NodeJS.ProcessEnv = {}) => ({
    ...process.env,
    TMPDIR: folder,
    OTEL_EXPORTER_PROMETHEUS_PORT: '0',
    ...env,
  });

  for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
    it(`leaves nothing running when it is ended by ${signal}`, async () => {
      const demo = spawn(process.execPath, [...DEMO, '--client', 'all'], {
        cwd: ROOT,
        env: environment(),
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await firstCalls(demo, CLIENTS);
      // The demo, its app, and a server for each client.
      expect(processesOf(folder)).to.have.length.of.at.least(2 + CLIENTS);
      demo.kill(signal);
      await noneOf(folder);
    });
  }

  it('ends when npm, which started it, is gone', async () => {
    // Stands for npm and the shell between: they may end without handing a signal on.
    const source = `require('node:child_process').spawn(process.execPath, ${JSON.stringify(DEMO)}, { stdio: 'inherit' })`;
    const npm = spawn(process.execPath, ['--eval', source], {
      cwd: ROOT,
      env: environment({ npm_lifecycle_event: 'demo' }),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await firstCalls(npm);
    npm.kill('SIGKILL');
    await noneOf(folder);
  });

  it('tells at once that its port is taken, and what to do', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    for (const file of ['demo.ts', 'port.ts']) {
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        ['--require', 'tsx/cjs', join(ROOT, 'examples/demo', file)],
        { env: { ...process.env, OTEL_EXPORTER_PROMETHEUS_PORT: String(port) }, encoding: 'utf8' },
      );
      expect({ status, stdout }).to.deep.equal({ status: 1, stdout: '' });
      expect(stderr).to.match(
        new RegExp(`^Port ${port} is taken.*OTEL_EXPORTER_PROMETHEUS_PORT=${port + 1} npm run demo\n$`),
      );
    }
    other.close();
  });
});
