import { SpanKind } from '@opentelemetry/api';
import { expect } from 'chai';
import { startService, type Service } from '../console/service.js';
import { collectGarbage } from '../support/memory.js';
import { measured } from './measured.js';

const SECRET = 'hunter2-secret';

const ATTRIBUTES: Readonly<Record<string, Record<string, string>>> = {
  'query of a URL': { 'url.query': `token=${SECRET}&user=${SECRET}&${SECRET}` },
  'whole URL': { 'url.full': `https://user:${SECRET}@api.example.com/pay?key=${SECRET}#${SECRET}` },
  'URL by its old name': { 'http.url': `https://api.example.com/?key=${SECRET}` },
  'path that came in': { 'http.target': `/reset?token=${SECRET}` },
  'text in a statement': {
    'db.query.text': `SELECT * FROM users WHERE password = '${SECRET}' AND a = 'it''s ${SECRET}'`,
  },
  'statement by its old name': { 'db.statement': `UPDATE t SET a = '${SECRET}', b = $1, c = 4111111111111111` },
  'text behind a backslash': { 'db.query.text': `SELECT 'C:\\', '${SECRET}'` },
  'text without an end': { 'db.query.text': `SELECT '${SECRET}` },
  'text between dollars': { 'db.query.text': `SELECT $$${SECRET}$$, $a$${SECRET}$a$` },
  'text of MySQL': { 'db.query.text': `SELECT "${SECRET}"`, 'db.system.name': 'mysql' },
  'value for Redis': { 'db.query.text': `SET session:1 ${SECRET} EX 60`, 'db.system.name': 'redis' },
  header: { 'http.request.header.authorization': `Bearer ${SECRET}` },
  parameter: { 'db.query.parameter.0': SECRET },
};

describe('traces of the console', () => {
  let service: Service;
  afterEach(() => service.stop());

  function trace(attributes: Record<string, string>, name = 'GET /'): void {
    const breaker = service.breaker(`b${Math.random()}`);
    service.tracer.startActiveSpan(name, { kind: SpanKind.CLIENT, attributes }, (span) => {
      breaker.forceOpen();
      span.addEvent('retry', attributes);
      span.end();
    });
  }

  const text = async (path: string) => (await fetch(`${service.url}${path}`)).text();

  for (const [what, attributes] of Object.entries(ATTRIBUTES)) {
    it(`show no ${what}`, async () => {
      service = await startService();
      trace(attributes, `GET /pay?key=${SECRET}`);
      for (const path of ['/traces', '/traces/otlp']) {
        const shown = await text(path);
        expect(shown).to.contain(Object.keys(attributes)[0]);
        expect(shown).not.to.contain(SECRET).and.not.to.contain('4111111111111111');
      }
    });
  }

  it('show everything with OTEL_BREAKER_TRACES_REDACT=false', async () => {
    service = await startService({ OTEL_BREAKER_TRACES_REDACT: 'false' });
    trace(ATTRIBUTES['whole URL']!);
    expect(await text('/traces')).to.contain(SECRET);
  });

  it('keep names of parameters and the shape of statements', async () => {
    service = await startService();
    trace({ ...ATTRIBUTES['whole URL'], ...ATTRIBUTES['statement by its old name'] });
    const shown = await text('/traces');
    expect(shown).to.contain('https://REDACTED@api.example.com/pay?key=REDACTED#REDACTED');
    expect(shown).to.contain('UPDATE t SET a = ?, b = $1, c = ?');
  });

  it('take a bounded part of the memory: 250 spans with a megabyte each', async function () {
    this.timeout(60_000);
    service = await startService();
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let index = 0; index < 250; index++)
      trace({ 'db.query.text': `${index} `.padEnd(1_000_000, 'x'.repeat(999)) });
    for (let index = 0; index < 250; index++) {
      // Under way: nobody knows yet whether a breaker has a part in it.
      service.tracer.startActiveSpan('GET /', (parent) => {
        service.tracer.startSpan('SELECT', { attributes: { a: `${index} `.padEnd(1_000_000, 'y'.repeat(999)) } }).end();
        if (parent === undefined) throw new Error('No span.');
      });
    }
    collectGarbage();
    const grown = process.memoryUsage().heapUsed - before;
    measured(this, `${(grown / 1e6).toFixed(1)} MB`);
    expect(grown).to.be.below(30_000_000);
    expect((await text('/traces')).length).to.be.greaterThan(1_000);
  });

  for (const path of ['/traces', '/traces/otlp', '/events']) {
    it(`hold the event loop for a small part of the time that all of them take, or are bounded: ${path}`, async function () {
      this.timeout(60_000);
      service = await startService();
      for (let index = 0; index < 100; index++) {
        service.tracer.startActiveSpan('GET /', (parent) => {
          const attributes = { 'db.query.text': `SELECT ${index}`, more: 'x'.repeat(300) };
          for (let span = 0; span < 190; span++) service.tracer.startSpan('SELECT', { attributes }).end();
          service.breaker(`b${index}`).forceOpen();
          parent.end();
        });
      }
      let longest = 0;
      let last = performance.now();
      const turning = setInterval(() => {
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
      }, 1);
      const began = performance.now();
      const response = await fetch(`${service.url}${path}`);
      // The page gets more for as long as it stays: all there is comes first, and at once.
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      let bytes = 0;
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        bytes += part.value.length;
        if (path === '/events' && part.value.at(-1) === 10 && bytes > 1_000) break;
      }
      const took = performance.now() - began;
      await reader.cancel();
      clearInterval(turning);
      measured(this, `${Math.round(longest)} of ${Math.round(took)} ms, ${(bytes / 1e6).toFixed(1)} MB`);
      if (path === '/events') {
        // One event holds a megabyte of traces at most, so that there is nothing to be gained by writing it in parts.
        expect(bytes).to.be.within(1_000_000, 1_500_000);
        return;
      }
      expect(bytes).to.be.greaterThan(4_000_000);
      expect(longest).to.be.below(took / 2);
    });
  }
});
