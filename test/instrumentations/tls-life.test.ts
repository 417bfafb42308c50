import { expect } from 'chai';
import { once } from 'node:events';
import https from 'node:https';
import net from 'node:net';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import type { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard/guard.js';
import { RuleSet } from '../../src/rules/rule-set.js';
import { guardHttp } from '../support/http.js';
import { serveTls, start, stopServers } from '../support/servers.js';
import { COPIES } from '../support/undici-ways.js';

/** A server whose connections are made at once and secured only when it is told to go on. */
async function slowToSecure() {
  const { port } = await serveTls((_, res) => res.end());
  let goOn!: () => void;
  const going = new Promise<void>((resolve) => (goOn = resolve));
  const server = net.createServer((client) => {
    client.on('error', () => {});
    void going.then(() => {
      const upstream = net.connect(port, '127.0.0.1').on('error', () => client.destroy());
      client.pipe(upstream).pipe(client);
    });
  });
  const connected = once(server, 'connection');
  return { ...(await start(server, 'https')), connected, goOn };
}

/** Opens as others find that no connection can be made; the next probe is half a minute away. */
function openUnreachable(breaker: CircuitBreaker): void {
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' });
  while (breaker.state === 'closed') breaker.acquire().failure(refused);
}

const OPTIONS = { preset: 'httpApi', initialOpenDuration: 30_000 } as const;
const mayProbe = (breaker: CircuitBreaker) => breaker.stats().openUntil!.getTime() <= Date.now();

type Call = (origin: string) => Promise<unknown>;

/** A call begins while the circuit is closed, and is secured when it is open. */
async function itOpensTheWay(registry: CircuitBreakerRegistry, call: Call): Promise<void> {
  const server = await slowToSecure();
  const breaker = registry.getOrCreate(server.origin, OPTIONS);
  const made = call(server.origin);
  await server.connected;
  openUnreachable(breaker);
  // That it was accepted is no sign of life: what never answers accepts, too.
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(mayProbe(breaker)).to.equal(false);
  server.goOn();
  await made;
  expect(mayProbe(breaker)).to.equal(true);
}

describe('TLS that is secured while the circuit is open since no connection could be made', () => {
  afterEach(stopServers);

  it('opens the way to a probe, through https', async () => {
    const { registry, instrumentation } = guardHttp();
    try {
      await itOpensTheWay(
        registry,
        (origin) =>
          new Promise((resolve, reject) => {
            const options = { rejectUnauthorized: false, agent: false } as const;
            https.get(origin, options, (res) => res.resume().on('end', resolve)).on('error', reject);
          }),
      );
    } finally {
      instrumentation.disable();
    }
  });

  for (const [copy, undici] of Object.entries(COPIES)) {
    it(`opens the way to a probe, through ${copy}`, async () => {
      const registry = new CircuitBreakerRegistry();
      const instrumentation = new UndiciBreakerInstrumentation({}, new Guard(registry, new RuleSet()));
      const dispatcher = new undici.Agent({ connect: { rejectUnauthorized: false } });
      try {
        await itOpensTheWay(registry, async (origin) => (await undici.request(origin, { dispatcher })).body.dump());
      } finally {
        instrumentation.disable();
        await dispatcher.destroy();
      }
    });
  }
});
