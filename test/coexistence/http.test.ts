import { expect } from 'chai';
import { join } from 'node:path';
import { sample, scrape, startApp, stopApps } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { exportingTo, serveCollector, type Collector } from '../support/collector.js';
import { findDeadPort, serve, stopServers } from '../support/servers.js';

const fixture = (name: string) => join(__dirname, '../fixtures/coexistence', name);

describe('coexistence with OpenTelemetry:', () => {
  let collector: Collector;
  let upstream: string;
  let dead: string;
  before(async () => (dead = `http://127.0.0.1:${await findDeadPort()}`));
  beforeEach(async () => {
    collector = await serveCollector();
    upstream = (await serve((_, res) => res.end('ok'))).origin;
  });
  afterEach(async () => {
    await stopApps();
    await stopServers();
  });

  /** Runs an application that makes two good calls and six to a dead port, until what it has counted has arrived. */
  async function run(env: NodeJS.ProcessEnv) {
    const app = startApp({
      nodeArgs: PRELOAD,
      program: fixture('app.cjs'),
      env: { UPSTREAM: upstream, DEAD: dead, ...exportingTo(collector), ...env },
    });
    const [, seen] = await app.prints('stdout', /done: (.*)/);
    await Promise.race([
      collector.until(() => rejected() === 1),
      app.ends().then(({ stderr }) => expect.fail(`ended: ${stderr}`)),
    ]);
    // An SDK that shuts down on SIGTERM leaves the application running.
    const { stdout, stderr } = await app.stop('SIGKILL');
    return { seen, printed: stdout + stderr };
  }

  const rejected = () => collector.metric('circuit_breaker.calls', { name: dead, status: 'rejected' });
  const failed = () => collector.metric('circuit_breaker.failed_calls', { name: dead });

  it('an SDK that comes 200 ms late gets every count from the start', async () => {
    const { seen, printed } = await run({ SDK_IN_CODE: '1', SDK_DELAY_MS: '200' });
    expect(seen).to.match(/ERR_CIRCUIT_OPEN$/);
    expect(failed()).to.equal(5);
    expect(collector.metric('circuit_breaker.successful_calls', { name: upstream })).to.equal(2);
    expect(printed).not.to.match(/duplicate|metrics at/i);
  });

  it('a Prometheus exporter of the application gets its port, although it comes after us and late', async () => {
    const port = await findDeadPort();
    const app = startApp({
      nodeArgs: PRELOAD,
      program: fixture('prometheus-app.cjs'),
      env: {
        UPSTREAM: upstream,
        DEAD: dead,
        SDK_DELAY_MS: '800',
        OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
        OTEL_TRACES_EXPORTER: 'none',
        OTEL_LOGS_EXPORTER: 'none',
        OTEL_METRICS_EXPORTER: 'none',
        OTEL_NODE_RESOURCE_DETECTORS: 'none',
      },
    });
    await app.prints('stdout', /done/);
    const address = `http://127.0.0.1:${port}/metrics`;
    let page: string | undefined;
    while (sample(page ?? '', 'circuit_breaker_failed_calls_total', { name: dead }) === undefined) {
      page = await scrape(address).catch(() => undefined);
    }
    expect(sample(page!, 'circuit_breaker_failed_calls_total', { name: dead })).to.equal(5);
    expect((await app.stop()).stderr).to.match(/^(otel-breaker: (guarding|circuit ".*" opened).*\n)+$/);
  });
});
