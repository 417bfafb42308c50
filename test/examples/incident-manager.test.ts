import { expect } from 'chai';
import { Redis } from 'ioredis';
import { readFile, writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'pg';
import { DEPENDENCIES, startWorld, type World } from '../../examples/incident-manager/fakes.js';
import * as incidents from '../../examples/incident-manager/index.js';
import type { Dependency, Incident, IncidentStore, NotificationSender } from '../../examples/incident-manager/index.js';
import { startApp, type Breakers, type RunningApp } from '../../examples/incident-manager/start-app.js';
import { CircuitBreakerRedis, CircuitOpenError, type CircuitBreaker } from '../../src/index.js';
import { rejectionOf } from '../support/listen.js';
import { newName } from '../support/names.js';

const FOLDER = join(__dirname, '../../examples/incident-manager');
const OPEN_DURATION = '300ms';

interface Reported {
  readonly status: number;
  readonly incident: Incident;
  readonly degraded: readonly Dependency[];
}

interface Circuit {
  readonly name: string;
  readonly state: string;
  readonly success: number;
  readonly rejected: number;
}

interface Health {
  readonly healthy: boolean;
  readonly total: number;
  readonly circuits: readonly Circuit[];
}

let world: World;

describe('examples/incident-manager', () => {
  before(async () => {
    world = await startWorld();
  });

  after(() => world.close());

  const MODES: readonly Breakers[] = ['preload', 'explicit'];
  for (const breakers of MODES) {
    describe(`The incident manager with breakers by ${breakers === 'preload' ? 'the preload alone' : 'wrappers'}`, () => {
      let app: RunningApp;
      let directory: string;
      let number = 0;

      before(async () => {
        directory = await mkdtemp(join(tmpdir(), 'incident-manager-'));
        const config = join(directory, 'otel-breaker.yaml');
        await writeFile(config, await rulesFor(world));
        app = await startApp(world.addresses, breakers, {
          OTEL_BREAKER_CONFIG: config,
          OTEL_LOG_LEVEL: 'none',
          OPEN_DURATION,
        });
      });

      after(async () => {
        await app?.stop();
        await rm(directory, { recursive: true });
      });

      async function report(title = `Checkout is slow (${breakers} ${++number})`): Promise<Reported> {
        const body = JSON.stringify({ title, description: 'p99 above 2 s', source: 'checkout' });
        const answer = await fetch(`${app.url}/incidents`, { method: 'POST', body });
        return { status: answer.status, ...((await answer.json()) as Omit<Reported, 'status'>) };
      }

      async function get<T>(path: string): Promise<T> {
        return (await (await fetch(app.url + path)).json()) as T;
      }

      async function circuit(name: string): Promise<Circuit | undefined> {
        return (await get<Health>('/health')).circuits.find((candidate) => candidate.name === name);
      }

      it('answers from all ten dependencies while they work', async () => {
        const { status, incident, degraded } = await report();
        expect([status, degraded]).to.deep.equal([201, []]);
        expect(incident.severity).to.equal('P1');
        expect(incident.enrichment).to.deep.equal({
          confidence: 0.9,
          security: { threat: false, summary: 'Nothing suspicious' },
          resources: { cpu: 0.42, memory: 0.5 },
          compliance: { compliant: true, violations: [] },
        });
        const { healthy, circuits } = await get<Health>('/health');
        expect(healthy).to.be.true;
        expect(circuits.map(({ name }) => name)).to.have.members([...DEPENDENCIES]);
        for (const { name, success } of circuits) expect(success, name).to.be.above(0);
      });

      it('counts reports of the same trouble, and tells people once', async () => {
        const title = `The same again (${breakers})`;
        expect((await report(title)).status).to.equal(201);
        const { status, incident } = await report(title);
        expect([status, incident.occurrences]).to.deep.equal([200, 2]);
        const messages = world.received.filter(({ by, body }) => by === 'slack' && body.includes(title));
        expect(messages).to.have.lengthOf(1);
        const { incident: read } = await get<Reported>(`/incidents/${incident.id}`);
        expect(read).to.deep.equal(incident);
      });

      for (const name of DEPENDENCIES) {
        describe(`when ${name} breaks`, () => {
          const gate = () => world.gates[name];

          afterEach(() => gate().open());

          it('keeps answering, degrades as documented, stops asking, and recovers', async () => {
            gate().shut();
            const reports: Reported[] = [];
            while (((await circuit(name))?.rejected ?? 0) === 0) {
              const reported = await report();
              expect(reported.status).to.equal(201);
              expect(reported.degraded).to.deep.equal([name]);
              reports.push(reported);
            }
            expect((await circuit(name))!.state).not.to.equal('closed');
            expect(reports).not.to.be.empty;
            for (const { incident } of reports) expectWithout(name, incident);
            const last = reports.at(-1)!.incident;
            expect((await get<Reported>(`/incidents/${last.id}`)).incident).to.deep.equal(last);

            gate().open();
            let reported = await report();
            while (reported.degraded.length > 0 || !(await get<Health>('/health')).healthy) {
              expect(reported.status).to.equal(201);
              reported = await report();
            }
            while ((await circuit(name))!.state !== 'closed') reported = await report();
            expect(reported.degraded).to.be.empty;
            // Incidents that were kept in memory are in the database now, like all others.
            const { incidents: listed } = await get<{ incidents: Incident[] }>(
              '/incidents?source=checkout&limit=10000',
            );
            expect(listed.map(({ id }) => id)).to.include.members(reports.map(({ incident }) => incident.id));
          });
        });
      }
    });
  }

  describe('The clients of the incident manager', () => {
    it('ask the four LLM services, guarded', async () => {
      const { SENTINEL_URL, SHIELD_URL, EDGE_AGENT_URL, GOVERNANCE_URL } = world.addresses;
      const name = newName();
      const sentinel = new incidents.SentinelClientWithBreaker(new incidents.SentinelClient(SENTINEL_URL), { name });
      const shield = new incidents.ShieldClientWithBreaker(new incidents.ShieldClient(SHIELD_URL), { name });
      const edgeAgent = new incidents.EdgeAgentClientWithBreaker(new incidents.EdgeAgentClient(EDGE_AGENT_URL), {
        name,
      });
      const governance = new incidents.GovernanceClientWithBreaker(new incidents.GovernanceClient(GOVERNANCE_URL), {
        name,
      });
      const event = { source: 'checkout', description: 'odd prompt' };
      const report = { title: 'Slow', ...event };

      expect((await sentinel.fetchAlerts(1))[0]!.source).to.equal('checkout');
      expect(await sentinel.predictSeverity(report)).to.deep.equal({ severity: 'P1', confidence: 0.9 });
      expect(await sentinel.analyzeAnomaly({ metric: 'latency', values: [1, 500, 2] })).to.deep.equal({
        anomalous: true,
        outliers: [1],
      });
      expect((await shield.analyzeSecurityEvent(event)).threat).to.be.false;
      expect((await shield.assessRisk(event)).risk).to.equal(0.2);
      expect(await edgeAgent.submitBatch({ prompts: ['a', 'b'] })).to.deep.equal({ batchId: 'batch-1', accepted: 2 });
      expect((await edgeAgent.getResourceUsage('checkout')).cpu).to.equal(0.42);
      expect((await governance.checkCompliance({ incidentId: '1', description: 'x' })).compliant).to.be.true;
      expect((await governance.generateAuditReport({ from: '2026-01-01', to: '2026-02-01' })).id).to.equal('audit-1');

      expect(sentinel).to.be.instanceOf(incidents.SentinelClient);
      expect(sentinel.breaker).to.equal(governance.breaker);
      expect(sentinel.breaker.stats().calls).to.include({ success: 9, failure: 0, inFlight: 0 });
      sentinel.breaker.forceOpen();
      for (const call of [
        () => sentinel.fetchAlerts(),
        () => shield.assessRisk(event),
        () => edgeAgent.getResourceUsage('checkout'),
        () => governance.generateAuditReport({ from: '', to: '' }),
      ]) {
        expect(await rejectionOf(call())).to.be.instanceOf(CircuitOpenError);
      }
    });

    it('have the preset llmService, and take a 4xx for an answer', async () => {
      const { SentinelClient, SentinelClientWithBreaker, ServiceError } = incidents;
      const client = new SentinelClientWithBreaker(new SentinelClient(`${world.addresses.SHIELD_URL}`), {
        name: newName(),
      });
      expect(client.breaker.config.preset).to.equal('llmService');
      // Shield has no alerts: 404.
      const error = await rejectionOf(client.fetchAlerts());
      expect(error).to.be.instanceOf(ServiceError).with.property('status', 404);
      expect(client.breaker.stats().calls).to.include({ success: 1, failure: 0 });
    });
  });

  describe('The stores of the incident manager', () => {
    const made: Incident = {
      id: 'incident-1',
      title: 'Slow',
      description: 'p99 above 2 s',
      source: 'store-test',
      severity: 'P2',
      status: 'open',
      fingerprint: 'fingerprint-1',
      occurrences: 1,
      createdAt: '2026-01-01T00:00:00.000Z',
      updatedAt: '2026-01-01T00:00:00.000Z',
      enrichment: { confidence: 0.5 },
    };
    const later: Incident = { ...made, id: 'incident-2', severity: 'P0', createdAt: '2026-01-02T00:00:00.000Z' };
    let pool: Pool;

    before(() => {
      pool = new Pool({ connectionString: world.addresses.DATABASE_URL });
      pool.on('error', () => {});
    });
    after(() => pool.end());

    for (const [title, make] of [
      ['InMemoryIncidentStore', () => new incidents.InMemoryIncidentStore()],
      ['PostgresIncidentStore', () => new incidents.PostgresIncidentStore(pool)],
    ] as const satisfies readonly (readonly [string, () => IncidentStore])[]) {
      it(`${title} keeps, finds, lists, counts, changes and deletes incidents, behind CircuitBreakerStore`, async () => {
        const store = new incidents.CircuitBreakerStore(make(), { name: newName('store') });
        const filter = { source: 'store-test' };
        await store.saveIncident(made);
        await store.saveIncident(later);
        expect(await store.getIncident('incident-1')).to.deep.equal(made);
        expect(await store.getIncident('no-such-incident')).to.be.undefined;
        expect(await store.listIncidents(filter)).to.deep.equal([later, made]);
        expect(await store.listIncidents(filter, { offset: 1, limit: 1 })).to.deep.equal([made]);
        expect(await store.listIncidents({ ...filter, severity: 'P0' })).to.deep.equal([later]);
        expect(await store.countIncidents({ ...filter, status: 'open' })).to.equal(2);
        expect(await store.findByFingerprint('fingerprint-1')).to.deep.equal(later);
        expect(await store.updateIncident('incident-2', { status: 'resolved' })).to.deep.equal({
          ...later,
          status: 'resolved',
        });
        expect(await store.updateIncident('no-such-incident', { status: 'resolved' })).to.be.undefined;
        expect(await store.findByFingerprint('fingerprint-1')).to.deep.equal(made);
        expect(await store.countIncidents({ ...filter, status: 'open' })).to.equal(1);
        await store.saveIncident({ ...made, occurrences: 2 });
        expect((await store.getIncident('incident-1'))!.occurrences).to.equal(2);
        expect(await store.deleteIncident('incident-1')).to.be.true;
        expect(await store.deleteIncident('incident-1')).to.be.false;
        await store.deleteIncident('incident-2');
        expect(await store.countIncidents(filter)).to.equal(0);

        expect(store.breaker.config.preset).to.equal('database');
        expect(store.breaker.stats().calls).to.include({ success: 19, failure: 0, inFlight: 0 });
        store.breaker.forceOpen();
        expect(await rejectionOf(store.countIncidents())).to.be.instanceOf(CircuitOpenError);
      });
    }

    it('CircuitBreakerRedis works on a real Redis, and falls back when it is gone', async () => {
      const redis = new Redis(world.addresses.REDIS_URL, { maxRetriesPerRequest: 0, retryStrategy: () => 20 });
      redis.on('error', () => {});
      const wrapper = new CircuitBreakerRedis(redis, { name: newName('redis'), failureThreshold: 2 });
      const { breaker } = wrapper;
      try {
        await wrapper.execute((client) => client.set('key', 'value'));
        expect(
          await wrapper.executeWithFallback(
            (client) => client.get('key'),
            () => null,
          ),
        ).to.equal('value');
        const wrongType = await rejectionOf(wrapper.execute((client) => client.lpush('key', 'x')));
        expect(wrongType).to.have.property('name', 'ReplyError');
        expect(breaker.stats().calls).to.include({ success: 3, failure: 0 });
        world.gates.redis.shut();
        while (breaker.state === 'closed') await rejectionOf(wrapper.execute((client) => client.get('key')));
        expect(
          await wrapper.executeWithFallback(
            (client) => client.get('key'),
            () => 'fallback',
          ),
        ).to.equal('fallback');
      } finally {
        world.gates.redis.open();
        redis.disconnect();
      }
    });
  });

  describe('The notifications of the incident manager', () => {
    const incident: Incident = {
      id: 'incident-9',
      title: 'Checkout is down',
      description: 'Nobody can pay',
      source: 'checkout',
      severity: 'P0',
      status: 'open',
      fingerprint: 'fingerprint-9',
      occurrences: 1,
      createdAt: '2026-01-01T00:00:00.000Z',
      updatedAt: '2026-01-01T00:00:00.000Z',
      enrichment: {},
    };

    /** What a fake got of an incident and of a message sent through a guarded sender, which is then refused. */
    async function exchange(by: Dependency, sender: NotificationSender & { readonly breaker: CircuitBreaker }) {
      world.received.length = 0;
      await sender.send(incident);
      await sender.sendMessage('All is well again');
      expect(sender.breaker.config).to.include({ preset: 'notifications', countTimeouts: false });
      expect(sender.breaker.stats().calls).to.include({ success: 2, failure: 0 });
      sender.breaker.forceOpen();
      expect(await rejectionOf(sender.send(incident))).to.be.instanceOf(CircuitOpenError);
      const received = world.received.filter((message) => message.by === by);
      expect(received).to.have.lengthOf(2);
      return received as [(typeof received)[0], (typeof received)[0]];
    }

    it('go to Slack', async () => {
      const sender = new incidents.SlackSender(world.addresses.SLACK_WEBHOOK_URL);
      const [first, second] = await exchange(
        'slack',
        new incidents.SlackSenderWithBreaker(sender, { name: newName() }),
      );
      expect(JSON.parse(first.body)).to.have.property('text', '[P0] Checkout is down (checkout)');
      expect(JSON.parse(second.body)).to.deep.equal({ text: 'All is well again' });
    });

    it('go by e-mail', async () => {
      const sender = new incidents.EmailSender({
        url: world.addresses.SMTP_URL,
        from: 'incidents@example.com',
        to: 'oncall@example.com',
      });
      const [first, second] = await exchange(
        'email',
        new incidents.EmailSenderWithBreaker(sender, { name: newName() }),
      );
      expect(first.path).to.equal('oncall@example.com');
      expect(first.body).to.include('Subject: [P0] Checkout is down (checkout)').and.include('Nobody can pay');
      expect(second.body).to.include('All is well again');
    });

    it('go to PagerDuty', async () => {
      const sender = new incidents.PagerDutySender({ routingKey: 'key', url: world.addresses.PAGERDUTY_URL });
      const guarded = new incidents.PagerDutySenderWithBreaker(sender, { name: newName() });
      const [first, second] = await exchange('pagerduty', guarded);
      expect(JSON.parse(first.body)).to.deep.equal({
        routing_key: 'key',
        event_action: 'trigger',
        dedup_key: 'fingerprint-9',
        payload: {
          summary: '[P0] Checkout is down (checkout)',
          source: 'checkout',
          severity: 'critical',
          timestamp: '2026-01-01T00:00:00.000Z',
          custom_details: { id: 'incident-9', description: 'Nobody can pay' },
        },
      });
      expect(JSON.parse(second.body)).to.have.nested.property('payload.severity', 'info');
    });

    it('go to any webhook, signed', async () => {
      const { WEBHOOK_URL: url, WEBHOOK_SECRET: secret } = world.addresses;
      const sender = new incidents.WebhookSender({ url, secret });
      const guarded = new incidents.WebhookSenderWithBreaker(sender, { name: newName() });
      const received = await exchange('webhook', guarded);
      for (const { headers, body } of received) {
        const { 'x-timestamp': timestamp, 'x-signature-256': signature } = headers;
        expect(signature).to.equal(incidents.signatureOf(secret, timestamp as string, body));
        expect(signature).not.to.equal(incidents.signatureOf('another', timestamp as string, body));
      }
      expect(JSON.parse(received[0].body)).to.deep.equal({ type: 'incident', incident });
      expect(JSON.parse(received[1].body)).to.deep.equal({ type: 'message', text: 'All is well again' });
    });
  });
});

/** What an incident looks like that was taken in without one of the dependencies: see README.md. */
function expectWithout(name: Dependency, { severity, enrichment }: Incident): void {
  const parts = { sentinel: 'confidence', shield: 'security', 'edge-agent': 'resources', governance: 'compliance' };
  for (const [service, part] of Object.entries(parts)) {
    if (service === name) expect(enrichment).not.to.have.property(part);
    else expect(enrichment).to.have.property(part);
  }
  // By its words: the title says that something is slow.
  expect(severity).to.equal(name === 'sentinel' ? 'P2' : 'P1');
}

/** The example's rules file, with the ports and the patience of a test. */
async function rulesFor({ gates }: World): Promise<string> {
  const text = await readFile(join(FOLDER, 'otel-breaker.yaml'), 'utf8');
  return text
    .replace(/port: (\d+)/g, (_, port: string) => `port: ${gates[DEPENDENCIES[Number(port) - 7101]!].port}`)
    .replaceAll('openDuration: 5s', `openDuration: ${OPEN_DURATION}`);
}
