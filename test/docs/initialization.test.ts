import { expect } from 'chai';
import { METRICS_ADDRESS, sample, scrape } from '../support/app.js';
import { serveCollector } from '../support/collector.js';
import { removeTemporaryDirectories } from '../support/files.js';
import { findDeadPort, stopServers } from '../support/servers.js';
import { Document } from './documents.js';
import { pageDirectory } from './page-directory.js';
import { runCommand, startCommand, stopCommands } from './run-command.js';

const page = new Document('docs/initialization.md');
const commands = (role: string) => page.fences.filter((fence) => fence.language === 'sh' && fence.role === role);

/** What the applications of the page print, each as many calls as open its circuit, and one more. A client patched twice would need half of them. */
function expectGuarded({ stdout, stderr }: { stdout: string; stderr: string }): void {
  const results = resultsIn(stdout);
  expect(results.length, stderr).to.be.greaterThan(5);
  expect(results).to.deep.equal([...Array<string>(results.length - 1).fill('ECONNREFUSED'), 'ERR_CIRCUIT_OPEN']);
}

function expectUnguarded({ stdout }: { stdout: string }): void {
  const results = resultsIn(stdout);
  expect(results.length).to.be.greaterThan(5);
  expect(results).to.deep.equal(results.map(() => 'ECONNREFUSED'));
}

const resultsIn = (stdout: string) => [...stdout.matchAll(/^call \d+: (\w+)$/gm)].map(([, result]) => result);

describe('docs/initialization.md', () => {
  let name: string;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    const authority = `127.0.0.1:${await findDeadPort()}`;
    name = `http://${authority}`;
    env = { SERVICE: `${name}/`, DATABASE: `postgresql://${authority}/orders` };
  });
  afterEach(async () => {
    await stopCommands();
    await stopServers();
    removeTemporaryDirectories();
  });

  it('marks every command by how it is tried here, but for those that install', () => {
    const blocks = page.fences.filter(({ language }) => language === 'sh');
    const installs = blocks.filter(({ content }) => content.startsWith('npm install '));
    expect(new Set(installs.map(({ role }) => role))).to.deep.equal(new Set(['']));
    const others = blocks.filter((block) => !installs.includes(block)).map(({ role }) => role);
    expect(new Set(others)).to.deep.equal(new Set(['run', 'otel', 'serve', 'off', 'by-hand']));
  });

  for (const { content } of commands('run')) {
    it(`guards by: ${content.trim()}`, async () => {
      const { code, stdout, stderr } = await runCommand(content, pageDirectory(page), env);
      expectGuarded({ stdout, stderr });
      expect(stderr).to.match(/^otel-breaker: circuit ".*" opened: \d+ consecutive failures .*; next probe in .*$/m);
      expect(code).to.equal(0);
    });
  }

  for (const { content } of commands('otel')) {
    it(`guards, and metrics leave through the SDK, by: ${content.trim()}`, async () => {
      const collector = await serveCollector();
      const command = startCommand(content, pageDirectory(page), {
        ...env,
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
        OTEL_METRICS_EXPORTER: 'otlp',
        OTEL_METRIC_EXPORT_INTERVAL: '100',
        OTEL_METRIC_EXPORT_TIMEOUT: '100',
        OTEL_TRACES_EXPORTER: 'otlp',
        OTEL_BSP_SCHEDULE_DELAY: '50',
        OTEL_LOGS_EXPORTER: 'none',
        OTEL_NODE_RESOURCE_DETECTORS: 'none',
        OTEL_LOG_LEVEL: 'info',
      });
      await command.prints('stdout', /call 6/);
      expectGuarded(command.output);
      const transition = () =>
        collector.spans
          .flatMap(({ events }) => events)
          .find((event) => event.name === 'circuit_breaker.state_transition');
      await collector.until(
        () => collector.metric('circuit_breaker.failed_calls', { name }) === 5 && transition() !== undefined,
      );
      expect(transition()!.attributes['circuit_breaker.name']).to.equal(name);
      expect(command.output.stderr).not.to.match(/metrics at/);
    });
  }

  for (const { content } of commands('serve')) {
    it(`guards a server, started by: ${content.trim()}`, async () => {
      const command = startCommand(content, pageDirectory(page), { ...env, PORT: '0' });
      const [, port] = await command.prints('stdout', /listening on (\d+)/);
      const statuses: number[] = [];
      for (let call = 0; call < 6; call++) statuses.push((await fetch(`http://localhost:${port!}/`)).status);
      expect(statuses).to.deep.equal([502, 502, 502, 502, 502, 503]);
      const [, address] = await command.prints('stderr', METRICS_ADDRESS);
      const metrics = await scrape(address!);
      expect(sample(metrics, 'circuit_breaker_state', { name })).to.equal(1);
      expect(sample(metrics, 'circuit_breaker_calls_total', { name, status: 'rejected' })).to.equal(1);
    });
  }

  for (const { content } of commands('off')) {
    it(`guards nothing by: ${content.trim()}`, async () => {
      expectUnguarded(await runCommand(content, pageDirectory(page), env));
    });
  }

  it('is right that a client within the bundle goes unguarded', async () => {
    const [bundled] = commands('run').filter(({ content }) => content.includes('esbuild'));
    const whole = bundled!.content.replace('--external:pg ', '');
    expect(whole).not.to.equal(bundled!.content);
    expectUnguarded(await runCommand(whole, pageDirectory(page), env));
  });
});
