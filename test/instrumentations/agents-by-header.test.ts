import { expect } from 'chai';
import http from 'node:http';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard/guard.js';
import { RuleSet } from '../../src/rules/rule-set.js';
import { guardHttp } from '../support/http.js';
import { serve, stopServers } from '../support/servers.js';
import { COPIES } from '../support/undici-ways.js';

const AGENT = { 'X-Sentry-Auth': 'Sentry sentry_version=7' };
const APPLICATION = { 'X-Request-Id': '7' };

/** The mode of the breaker that one call makes. */
type ModeOf = (headers: Record<string, string>) => Promise<string | undefined>;

function itKnowsAgents(modeOf: ModeOf): void {
  it('are observed where their headers say that an agent sends telemetry', async () => {
    expect(await modeOf(AGENT)).to.equal('observe');
  });
  it('are enforced where their headers do not', async () => {
    expect(await modeOf(APPLICATION)).to.equal('enforce');
  });
}

describe('Calls to a host that nobody knows', () => {
  afterEach(stopServers);

  async function serverOf(registry: CircuitBreakerRegistry, call: (origin: string) => Promise<unknown>) {
    const { origin } = await serve((_, res) => res.end());
    await call(origin);
    return registry.get(origin)?.config.mode;
  }

  describe('through http', () => {
    itKnowsAgents(async (headers) => {
      const { registry, instrumentation } = guardHttp();
      try {
        return await serverOf(
          registry,
          (origin) =>
            new Promise((resolve, reject) => {
              http.get(origin, { headers }, (res) => res.resume().on('end', resolve)).on('error', reject);
            }),
        );
      } finally {
        instrumentation.disable();
      }
    });
  });

  for (const [copy, undici] of Object.entries(COPIES)) {
    const forms: Record<string, (headers: Record<string, string>) => unknown> = {
      'an object': (headers) => headers,
      'names and values in turn': (headers) => Object.entries(headers).flat(),
      pairs: (headers) => new Map(Object.entries(headers)),
    };
    const ways: Record<string, (origin: string, headers: Record<string, string>) => Promise<unknown>> = {
      'fetch()': (origin, headers) => undici.fetch(origin, { headers }).then((response) => response.text()),
    };
    for (const [form, make] of Object.entries(forms)) {
      ways[`request() with ${form}`] = (origin, headers) =>
        undici.request(origin, { headers: make(headers) as Record<string, string> }).then(({ body }) => body.dump());
    }
    for (const [name, call] of Object.entries(ways)) {
      describe(`through ${name} of ${copy}`, () => {
        itKnowsAgents(async (headers) => {
          const registry = new CircuitBreakerRegistry();
          const instrumentation = new UndiciBreakerInstrumentation({}, new Guard(registry, new RuleSet()));
          try {
            return await serverOf(registry, (origin) => call(origin, headers));
          } finally {
            instrumentation.disable();
          }
        });
      });
    }
  }
});
