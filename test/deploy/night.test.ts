import { expect } from 'chai';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BreakerDetail, HealthInFull, Snapshot, TraceView } from '../../src/console/api.js';
import { headline } from '../../src/console/headline.js';
import { EMPTY, reduce } from '../../src/console/live-store.js';
import { METRICS_ADDRESS, startApp, stopApps, type App } from '../support/app.js';
import { PRELOAD, ROOT } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { startPrometheus, type Prometheus } from './prometheus.js';
import { isOfFleet, queries } from './queries.js';

/**
 * The rules as they are, with minutes that last little more than a second and hours of a few. What an alert waits for is longer
 * than what it looks back at, as in the rules themselves: what is over when somebody would wake up must not fire.
 */
function hastened(file: string): string {
  return readFileSync(join(ROOT, 'deploy/prometheus', file), 'utf8')
    .replace(/for: (\d+)m/g, (_, minutes) => `for: ${Math.max(Number(minutes) * 1_600, 4_000)}ms`)
    .replace(/\[2m\]/g, '[4s]')
    .replace(/\[5m\]/g, '[6s]')
    .replace(/\[15m\]/g, '[20s]')
    .replace(/\[2h:1m\]/g, '[16s:1s]')
    .replace(/\[(\d)h\]/g, (_, hours) => `[${Number(hours) * 8}s]`)
    .replace('offset 2h', 'offset 16s')
    .replace('<= 30', '<= 3');
}

/** A service that calls again and again whatever it is told to, and has a job that ends once it was refused three times. */
const SERVICE = `
  const { get } = require('node:http');
  let daily = [];
  let job;
  let refused = 0;
  process.on('message', (told) => ({ daily, job } = told));
  const call = (url, onError) => get(url, { agent: false }, (answer) => answer.resume()).on('error', onError);
  setInterval(() => {
    for (const url of daily) call(url, () => {});
    if (job !== undefined) call(job, ({ code }) => code === 'ERR_CIRCUIT_OPEN' && ++refused === 3 && (job = undefined));
  }, 200);
`;

/** Something that is called, at a host of its own: unrelated targets differ in that. */
class Target {
  #status = 200;
  #server: Server | undefined;
  port = 0;

  constructor(readonly host: string) {}

  get url(): string {
    return `http://${this.host}:${this.port}/`;
  }

  async start(): Promise<void> {
    this.#status = 200;
    this.#server ??= createServer((_, response) => response.writeHead(this.#status).end());
    if (!this.#server.listening) await once(this.#server.listen(this.port, this.host), 'listening');
    this.port = (this.#server.address() as AddressInfo).port;
  }

  /** Answers, and every answer is an error. */
  fail(): void {
    this.#status = 503;
  }

  /** Connections are refused. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }
}

/** One instance of the service, and what there is to read of it. */
class Replica {
  constructor(
    readonly app: App,
    readonly address: string,
    readonly rules: string,
  ) {}

  get instance(): string {
    return new URL(this.address).host;
  }

  calls(daily: readonly Target[], job?: Target): void {
    this.app.child.send({ daily: daily.map(({ url }) => url), job: job?.url });
  }

  async see<T>(path: string): Promise<T> {
    return (await (await fetch(new URL(path, this.address))).json()) as T;
  }

  /** The sentence at the top of its page. */
  async headline(): Promise<string> {
    const { body } = await fetch(new URL('/events', this.address));
    let events = '';
    for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
      events += piece;
      const data = /^event: snapshot\ndata: (.*)\n\n/m.exec(events)?.[1];
      if (data !== undefined)
        return headline(reduce(EMPTY, { kind: 'snapshot', data: JSON.parse(data) as Snapshot })).text;
    }
    throw new Error(`No snapshot in ${events}`);
  }
}

// Openings are hastened as well: none outlasts what an alert waits for, but that of a real outage and of an idle job.
const RULES = `
defaults: { initialOpenDuration: 200ms, openDuration: 500ms }
rules:
  - match: { host: 127.0.0.1 }
    name: payments
    initialOpenDuration: 2s
    openDuration: 3s
  - match: { host: 127.0.0.2 }
    name: archive
    initialOpenDuration: 10m
    openDuration: 10m
  - match: { host: 127.0.0.3 }
    name: search
    mode: observe
    initialOpenDuration: 2s
    openDuration: 3s
`;
const MISTYPED = `${RULES}    failureTreshold: 3\n`;

type Firing = readonly [alert: string, labels: Readonly<Record<string, string>>];

describe('one night', function () {
  this.timeout(180_000);
  const targets = Array.from({ length: 10 }, (_, index) => new Target(`127.0.0.${index + 1}`));
  const [payments, archive, search, ...others] = targets as [Target, Target, Target, ...Target[]];
  let prometheus: Prometheus | undefined;

  afterEach(async () => {
    await prometheus?.stop();
    await stopApps();
    for (const target of targets) await target.stop();
    removeTemporaryDirectories();
  });

  async function startReplica(): Promise<Replica> {
    const rules = join(temporaryDirectory(), 'rules.yaml');
    writeFileSync(rules, RULES);
    const app = startApp({
      nodeArgs: PRELOAD,
      program: { kind: 'commonjs', source: SERVICE },
      env: {
        OTEL_BREAKER_CONFIG: rules,
        OTEL_BREAKER_TRACES: 'local',
        OTEL_SERVICE_NAME: 'shop',
        OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=night%20shift',
        OTEL_LOGS_EXPORTER: 'none',
        OTEL_NODE_RESOURCE_DETECTORS: 'none',
      },
      ipc: true,
    });
    return new Replica(app, (await app.prints('stderr', METRICS_ADDRESS))[1]!, rules);
  }

  /** Whatever is waited for: where the time is up, what never came. */
  const waiting = new Set<string>();
  async function waitFor<T>(what: string, comes: Promise<T>): Promise<T> {
    waiting.add(what);
    const come = await comes;
    waiting.delete(what);
    return come;
  }
  afterEach(function () {
    if (this.currentTest?.isFailed()) for (const what of waiting) console.error(`      never came: ${what}`);
  });

  /** Waits until a query has data. */
  async function until(expr: string): Promise<void> {
    const comes = async () => {
      while ((await prometheus!.count(expr)) === 0) await sleep(200);
    };
    await waitFor(expr, comes());
  }

  async function untilAll(alerts: readonly Firing[], state: 'firing' | 'resolved'): Promise<void> {
    const all = alerts.map(([alert, labels]) =>
      waitFor(`${alert} ${JSON.stringify(labels)} ${state}`, prometheus!.alert(alert, state, labels)),
    );
    await Promise.all(all);
  }

  function says({ app, instance }: Replica, pattern: RegExp): Promise<RegExpExecArray> {
    return waitFor(`${instance}: ${pattern}`, app.prints('stderr', pattern));
  }

  it('wakes those who are on call for an outage, panic and a bad rules file, and for nothing else', async () => {
    for (const target of targets) await target.start();
    const [a, b] = await Promise.all([startReplica(), startReplica()]);
    prometheus = await startPrometheus(
      [a.instance, b.instance],
      ['recording.rules.yml', 'alerts.rules.yml'].map(hastened),
    );
    const daily = targets.filter((target) => target !== archive);
    a.calls(daily, archive);
    b.calls(daily);
    await until('increase(circuit_breaker_successful_calls_total{name="archive"}[4s]) > 3');
    await until('count(target_info{service_name="shop", deployment_environment_name="night shift"}) == 2');

    // An outage; a nightly job whose target is gone, and that ends; a roll-out in mode observe; and a typing error.
    payments.fail();
    search.fail();
    await archive.stop();
    writeFileSync(b.rules, MISTYPED);
    const outage: readonly Firing[] = [
      ['CircuitBreakerOpenTooLong', { name: 'payments', instance: a.instance }],
      ['CircuitBreakerOpenTooLong', { name: 'payments', instance: b.instance }],
      ['CircuitBreakerOpenAcrossFleet', { name: 'payments' }],
      ['CircuitBreakerRejectingCalls', { name: 'payments' }],
      ['CircuitBreakerWouldReject', { name: 'search' }],
      ['CircuitBreakerRulesReloadFailed', { instance: b.instance }],
    ];
    await untilAll(outage, 'firing');
    expect(await b.headline()).to.match(
      /^payments is (half-)?open for \d+ s: 5 consecutive failures \(threshold 5\); \d+ callers refused; .* Also: search\.$/,
    );
    const { rulesProblem } = await b.see<HealthInFull>('/healthz');
    expect(rulesProblem).to.contain('failureTreshold');
    await says(b, /the rules before stay in force.*failureTreshold/s);
    await says(a, /circuit "archive" opened/);
    await until('circuit_breaker_rejected_calls_total{name="archive", enforced="true"} >= 3');
    const [exemplar] = await prometheus.exemplars('circuit_breaker_failed_calls_total{name="payments"}');
    expect(exemplar).to.have.keys('trace_id', 'span_id');

    await payments.start();
    await search.start();
    writeFileSync(b.rules, RULES);
    await says(a, /circuit "payments" closed/);
    await tellsOneStory(a);
    await untilAll(outage, 'resolved');

    // Most targets are lost at once, and for longer than any other alert waits.
    for (const target of others) await target.stop();
    const panic: readonly Firing[] = [a, b].map(({ instance }) => ['CircuitBreakerPanic', { instance }]);
    await untilAll(panic, 'firing');
    const [, reason] = await says(a, /panic: (.* became unreachable within .*): something nearer/);
    expect((await a.see<HealthInFull>('/healthz')).panic).to.equal(reason);
    expect(await reasonsInTraces(a)).to.include(reason);
    await until('count_over_time(ALERTS{alertname="CircuitBreakerPanic", alertstate="firing"}[1m]) > 20');
    for (const expr of queries()) if (!isOfFleet(expr) || expr.includes('vector(0)')) await until(expr);
    for (const target of others) await target.start();
    await untilAll(panic, 'resolved');
    await says(a, /panic is over/);

    const said = prometheus.heard.map(({ labels: { alertname, name, instance } }) => [alertname, name, instance]);
    const expected = [...outage, ...panic].map(([alert, { name, instance }]) => [alert, name, instance]);
    const asText = (alerts: typeof said) => [...new Set(alerts.map((alert) => alert.join(' ')))].sort();
    expect(asText(said)).to.deep.equal(asText(expected));
    // What the nightly job left behind is there to be seen, and woke nobody.
    expect(await prometheus.value('circuit_breaker_state', { name: 'archive' })).to.equal(1);
  });

  /** The log, the console's list of changes and the traces say the same of the outage. */
  async function tellsOneStory(replica: Replica): Promise<void> {
    const { transitions } = await replica.see<BreakerDetail>('/breakers/payments');
    const changes = [...transitions].reverse();
    const opened = changes.find(({ from }) => from === 'closed')!;
    const closed = changes.find(({ to }) => to === 'closed')!;
    const lines = replica.app.output.stderr.split('\n').filter((line) => line.includes('circuit "payments"'));
    expect(lines).to.have.length(2);
    expect(lines[0]).to.contain(`opened: ${opened.reason}`).and.contain(`trace ${opened.traceId}`);
    expect(lines[1]).to.contain(`closed: ${closed.reason}`).and.contain(`trace ${closed.traceId}`);
    for (const { traceId, reason } of [opened, closed]) {
      expect(await reasonsInTraces(replica, traceId)).to.include(reason);
    }
  }

  /** What the events of our own say, in one trace or in all. */
  async function reasonsInTraces(replica: Replica, traceId?: string | null): Promise<unknown[]> {
    const { traces } = await replica.see<{ traces: TraceView[] }>('/traces');
    return traces
      .filter((trace) => traceId === undefined || trace.traceId === traceId)
      .flatMap(({ spans }) => spans.flatMap(({ events }) => events))
      .map(({ attributes }) => attributes['circuit_breaker.reason']);
  }
});
