import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { PostgresServer } from '../../test/support/postgres-server.js';
import { RedisServer } from '../../test/support/redis-server.js';
import type { Addresses } from './dependencies.js';
import { Gate } from './gate.js';
import type { Dependency } from './service.js';

export const DEPENDENCIES = [
  'sentinel',
  'shield',
  'edge-agent',
  'governance',
  'postgresql',
  'redis',
  'slack',
  'email',
  'pagerduty',
  'webhook',
] as const satisfies readonly Dependency[];

/** What a fake was sent. */
export interface Received {
  readonly by: Dependency;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Local fakes of all dependencies, each behind a gate. */
export interface World {
  readonly gates: Readonly<Record<Dependency, Gate>>;
  readonly addresses: Addresses;
  readonly received: Received[];
  close(): Promise<void>;
}

/** @param firstPort port of the first gate; the others follow in the order of `DEPENDENCIES`. 0: each on any free port */
export async function startWorld(firstPort = 0): Promise<World> {
  const received: Received[] = [];
  const closers: (() => Promise<unknown>)[] = [];
  const gates: Partial<Record<Dependency, Gate>> = {};

  async function place(name: Dependency, targetPort: number): Promise<void> {
    const port = firstPort === 0 ? 0 : firstPort + DEPENDENCIES.indexOf(name);
    const gate = await Gate.before(targetPort, port);
    gates[name] = gate;
    closers.push(() => gate.close());
  }

  for (const [name, answers] of Object.entries(ANSWERS) as [Dependency, Answers][]) {
    const server = fakeService(name, answers, received);
    await place(name, await listen(server));
    closers.push(() => close(server));
  }
  const mail = fakeMail(received);
  await place('email', await listen(mail.server));
  closers.push(() => new Promise<void>((closed) => mail.close(closed)));

  const [postgres, redis] = await Promise.all([PostgresServer.start(), RedisServer.start()]);
  closers.push(
    () => postgres.stop(),
    () => redis.remove(),
  );
  await place('postgresql', postgres.port);
  await place('redis', redis.port);

  const complete = gates as Record<Dependency, Gate>;
  const at = (name: Dependency) => `127.0.0.1:${complete[name].port}`;
  return {
    gates: complete,
    received,
    addresses: {
      SENTINEL_URL: `http://${at('sentinel')}`,
      SHIELD_URL: `http://${at('shield')}`,
      EDGE_AGENT_URL: `http://${at('edge-agent')}`,
      GOVERNANCE_URL: `http://${at('governance')}`,
      DATABASE_URL: `postgresql://${postgres.user}@${at('postgresql')}/${postgres.database}`,
      REDIS_URL: `redis://${at('redis')}`,
      SLACK_WEBHOOK_URL: `http://${at('slack')}/services/T0/B0/x`,
      SMTP_URL: `smtp://${at('email')}`,
      PAGERDUTY_URL: `http://${at('pagerduty')}/v2/enqueue`,
      WEBHOOK_URL: `http://${at('webhook')}/incidents`,
      WEBHOOK_SECRET: 'shared secret',
    },
    close: async () => {
      // Close gates first, so that no connection keeps a server open.
      for (const gate of Object.values(complete)) gate.shut();
      for (const close of closers.reverse()) await close();
    },
  };
}

type Answers = Readonly<Record<string, (body: unknown) => unknown>>;

const ANSWERS: Readonly<Partial<Record<Dependency, Answers>>> = {
  sentinel: {
    'GET /v1/alerts': () => [
      { id: 'alert-1', source: 'checkout', message: 'p99 above 2 s', at: '2026-01-01T00:00:00.000Z' },
    ],
    'POST /v1/severity': () => ({ severity: 'P1', confidence: 0.9 }),
    'POST /v1/anomalies': (body) => {
      const { values } = body as { values: number[] };
      const outliers = values.flatMap((value, index) => (value > 100 ? [index] : []));
      return { anomalous: outliers.length > 0, outliers };
    },
  },
  shield: {
    'POST /v1/security-events': () => ({ threat: false, summary: 'Nothing suspicious' }),
    'POST /v1/risk': () => ({ risk: 0.2, mitigations: ['rotate the key'] }),
  },
  'edge-agent': {
    'POST /v1/batches': (body) => ({ batchId: 'batch-1', accepted: (body as { prompts: unknown[] }).prompts.length }),
    'GET /v1/resources': () => ({ cpu: 0.42, memory: 0.5 }),
  },
  governance: {
    'POST /v1/compliance': () => ({ compliant: true, violations: [] }),
    'POST /v1/audit-reports': () => ({ id: 'audit-1', findings: [] }),
  },
  slack: { 'POST /services/T0/B0/x': () => 'ok' },
  pagerduty: { 'POST /v2/enqueue': () => ({ status: 'success', message: 'Event processed', dedup_key: 'key' }) },
  webhook: { 'POST /incidents': () => ({ received: true }) },
};

function fakeService(by: Dependency, answers: Answers, received: Received[]): Server {
  return createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const path = request.url ?? '/';
      const answer = answers[`${request.method} ${path.split('?', 1)[0]!}`];
      received.push({ by, path, headers: request.headers, body });
      if (answer === undefined) return void response.writeHead(404).end();
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(answer(body === '' ? undefined : JSON.parse(body))));
    });
  });
}

function fakeMail(received: Received[]): SMTPServer {
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    disableReverseLookup: true,
    onData(stream, session, done) {
      let body = '';
      stream.setEncoding('utf8').on('data', (text: string) => (body += text));
      stream.on('end', () => {
        received.push({ by: 'email', path: session.envelope.rcptTo[0]?.address ?? '', headers: {}, body });
        done();
      });
    },
  });
  // Broken connections are expected here.
  server.on('error', () => {});
  return server;
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  await closed;
}
