import { expect } from 'chai';
import { once } from 'node:events';
import { get } from 'node:http';
import { join } from 'node:path';
import { startApp, stopApps, type App } from '../support/app.js';
import { PRELOAD, ROOT } from '../support/child.js';
import { exportingTo, serveCollector, type OtlpAttribute, type ResourceSpans } from '../support/collector.js';
import { golden } from '../support/golden.js';
import { serve, stopServers } from '../support/servers.js';

const fixture = (name: string) => join(ROOT, 'test/fixtures/story', name);

// httpApi: five failures open the circuit, two successful probes close it. How long it is open, the rules file says.
const OPEN_MS = 30_000;

/** What the caller of the service sees. */
const STORY = [200, 200, 502, 502, 502, 502, 502, 503, 503, 'wait', 200, 200, 200] as const;

describe('the story of one circuit, healthy, open, half-open and closed again', () => {
  let resourceSpans: ResourceSpans[];
  let ports: Record<number, number>;

  before(async () => {
    const collector = await serveCollector();
    let broken = false;
    const inventory = await serve((_, res) => res.writeHead(broken ? 503 : 200).end());
    // No SDK and no line of code: the preload alone.
    const app = startApp({
      nodeArgs: ['--require', fixture('clock.cjs'), ...PRELOAD],
      program: fixture('app.cjs'),
      ipc: true,
      env: {
        ...exportingTo(collector),
        INVENTORY: inventory.origin,
        OTEL_SERVICE_NAME: 'shop',
        OTEL_LOG_LEVEL: undefined,
        OTEL_BREAKER_CONFIG: fixture('otel-breaker.yaml'),
      },
    });
    const port = Number((await app.prints('stdout', /listening on (\d+)/))[1]);
    ports = { [inventory.port]: 8080, [port]: 3000 };
    let made = 0;
    for (const step of STORY) {
      broken = step === 502;
      if (step === 'wait') await putForward(app, OPEN_MS);
      else expect(await statusOf(`http://127.0.0.1:${port}/orders/${++made}`)).to.equal(step);
    }
    app.child.send('end');
    expect((await app.ends()).code).to.equal(0);
    resourceSpans = collector.resourceSpans;
  });

  after(async () => {
    await stopApps();
    await stopServers();
  });

  it('is told by the spans of the calls, as docs/story.otlp.json has it', async () => {
    const { is, should } = await golden('docs/story.otlp.json', () => JSON.stringify(normalised(resourceSpans, ports)));
    expect(JSON.parse(is)).to.deep.equal(JSON.parse(should));
  });

  it('leads from each rejected call to the one that opened the circuit', () => {
    const spans = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans).flatMap((scope) => scope.spans);
    const carriers = (name: string) => spans.filter(({ events }) => events.some((event) => event.name === name));
    const transitions = carriers('circuit_breaker.state_transition');
    expect(transitions.map(({ kind }) => kind)).to.deep.equal([3, 3, 3]);
    const rejected = carriers('circuit_breaker.rejected');
    expect(rejected.map(({ kind }) => kind)).to.deep.equal([3, 3]);
    for (const { events } of rejected) {
      const said = JSON.stringify(events);
      expect(said).to.contain(transitions[0]!.spanId).and.to.contain(transitions[0]!.traceId);
    }
  });
});

function statusOf(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, (res) => res.resume().on('close', () => resolve(res.statusCode!))).on('error', reject);
  });
}

async function putForward({ child }: App, ms: number): Promise<void> {
  child.send(ms);
  await once(child, 'message');
}

const FIRST = Date.UTC(2026, 0, 1);
const SERVER = 2;

/** One file of what came, with ids, times, ports and versions that are the same every time. */
function normalised(resourceSpans: readonly ResourceSpans[], ports: Readonly<Record<number, number>>): object {
  const scopes = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans);
  const spans = scopes.flatMap(({ scope, spans }) => spans.map((span) => ({ scope, span })));
  const path = ({ attributes }: { attributes: readonly OtlpAttribute[] }) =>
    Number(
      /\d+$/.exec(String(Object.values(attributes.find(({ key }) => /^url\.(path|full)$/.test(key))!.value)[0]))![0],
    );
  spans.sort((a, b) => path(a.span) - path(b.span) || a.span.kind - b.span.kind);

  let text = JSON.stringify(
    spans.map(({ scope, span }) => {
      const request = path(span);
      const inner = span.kind === SERVER ? 0 : 1;
      const waited = request > STORY.indexOf('wait') ? OPEN_MS : 0;
      const at = (ms: number) => `${FIRST + waited + request * 1_000 + ms}000000`;
      return {
        scope: { name: scope.name },
        span: {
          ...span,
          startTimeUnixNano: at(inner * 5),
          endTimeUnixNano: at(40 - inner * 5),
          attributes: span.attributes.map(withKnownPort),
          events: span.events.map((event, index) => ({
            ...event,
            timeUnixNano: at(10 + 5 * index),
            attributes: event.attributes.map(withFullWait),
          })),
        },
      };
    }),
  );
  for (const [index, { span }] of spans.entries()) {
    text = text.replaceAll(span.traceId, hex(path(span), 32)).replaceAll(span.spanId, hex(index + 1, 16));
  }
  for (const [port, known] of Object.entries(ports)) text = text.replaceAll(`127.0.0.1:${port}`, `127.0.0.1:${known}`);
  text = text.replaceAll(/next attempt in [\d.]+ s/g, `next attempt in ${OPEN_MS / 1_000} s`);
  const named = JSON.parse(text) as typeof spans;

  const [{ resource }] = resourceSpans as [ResourceSpans];
  return {
    resourceSpans: [
      {
        resource: { attributes: resource.attributes.filter(({ key }) => key === 'service.name') },
        scopeSpans: [...new Set(named.map(({ scope }) => scope.name))].map((name) => ({
          scope: { name },
          spans: named.filter(({ scope }) => scope.name === name).map(({ span }) => span),
        })),
      },
    ],
  };

  function withKnownPort(attribute: OtlpAttribute): OtlpAttribute {
    const port = Number(attribute.value.intValue);
    if (!attribute.key.endsWith('.port')) return attribute;
    return { ...attribute, value: { intValue: ports[port] ?? 50_000 } };
  }
}

/** As if no time had passed since the circuit opened. */
function withFullWait(attribute: OtlpAttribute): OtlpAttribute {
  if (attribute.key !== 'circuit_breaker.retry_after_ms') return attribute;
  expect(attribute.value.intValue).to.be.within(1, OPEN_MS);
  return { ...attribute, value: { intValue: OPEN_MS } };
}

/** An id that is not the beginning of another one's. */
function hex(id: number, digits: number): string {
  return id
    .toString(16)
    .padStart(2, '0')
    .repeat(digits / 2);
}
