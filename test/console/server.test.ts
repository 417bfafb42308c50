import { expect } from 'chai';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { BreakerOptions } from '../../src/breaker/options.js';
import type { BreakerDetail, BreakerView, HealthInFull, Snapshot, Tick } from '../../src/console/api.js';
import { openCircuit, succeed } from '../support/breakers.js';
import { captureDiag } from '../support/log.js';
import { handleRequest, refuse, startService, type Service } from './service.js';

const TOKEN = 'a-token-of-the-tests';
const PAYMENTS = 'https://payments.example.com';
const AT_PAYMENTS = `/breakers/${encodeURIComponent(PAYMENTS)}`;

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** As `fetch`, which lets nobody set Host, Origin or a path with dots. */
async function ask(url: string, path: string, { method = 'GET', headers = {}, body }: Ask = {}): Promise<Answer> {
  const { hostname, port } = new URL(url);
  const outgoing = httpRequest({ host: hostname.replace(/[[\]]/g, ''), port, path, method, headers, agent: false });
  outgoing.end(body);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  const chunks = (await answer.toArray()) as Buffer[];
  return { status: answer.statusCode!, headers: answer.headers, text: Buffer.concat(chunks).toString() };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('console server', () => {
  let service: Service;
  const start = async (env: NodeJS.ProcessEnv = {}) => (service = await startService(env));
  const get = (path: string, options?: Ask) => ask(service.url, path, options);
  const post = (path: string, headers: Readonly<Record<string, string>> = {}) => get(path, { method: 'POST', headers });
  afterEach(() => service.stop());

  describe('answers', () => {
    it('lists breakers with their numbers', async () => {
      await start();
      openCircuit(service.breaker(PAYMENTS));
      succeed(service.breaker('redis://cache:6379', { mode: 'observe' }));
      service.runtime.attached('ioredis');
      const { status, text } = await get('/breakers');
      expect(JSON.parse(text)).to.have.deep.property('guarding', ['ioredis']);
      const { breakers, open, closed } = JSON.parse(text) as { breakers: BreakerView[]; open: number; closed: number };
      expect([status, open, closed]).to.deep.equal([200, 1, 1]);
      expect(breakers.map(({ name, state, mode }) => [name, state, mode])).to.deep.equal([
        [PAYMENTS, 'open', 'enforce'],
        ['redis://cache:6379', 'closed', 'observe'],
      ]);
      expect(breakers[0]!.calls).to.deep.equal({
        success: 0,
        failure: 5,
        ignored: 0,
        rejected: 0,
        inFlight: 0,
        oldestMs: null,
      });
      expect(Date.parse(breakers[0]!.openUntil!)).to.be.greaterThan(Date.now());
    });

    it('tells everything about one breaker: options, where they came from, and why its state changed', async () => {
      await start();
      const breaker = service.breaker(PAYMENTS, { preset: 'httpApi', failureThreshold: 2 });
      openCircuit(breaker);
      breaker.reset();
      for (const path of [AT_PAYMENTS, `/breakers/${PAYMENTS}`]) {
        const detail = JSON.parse((await get(path)).text) as BreakerDetail;
        expect(detail.name).to.equal(PAYMENTS);
        expect(detail.transitions.map(({ from, to, reason }) => [from, to, reason])).to.deep.equal([
          ['open', 'closed', 'reset by hand'],
          ['closed', 'open', '2 consecutive failures (threshold 2)'],
        ]);
        expect(detail.transitions[1]!.errorType).to.equal('Error');
        const options = new Map(detail.options.map(({ key, ...option }) => [key, option]));
        expect(options.get('openDuration')).to.deep.equal({ value: 30_000, source: 'preset httpApi' });
        expect(options.get('failureThreshold')).to.deep.equal({ value: 2, source: null });
      }
      expect((await get('/breakers/unknown')).status).to.equal(404);
      expect((await get('/breakers/%E0%A4%A')).status).to.equal(404);
    });

    it('finds a breaker by its name, whatever is in it, and sends it as data', async () => {
      await start({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
      for (const name of [
        '__proto__',
        '../../etc/passwd',
        'a/open',
        '%2e%2e',
        '</script><script>',
        '\r\nx: y',
        '\u2028"',
        '名前',
      ]) {
        const breaker = service.breaker(name);
        const path = `/breakers/${encodeURIComponent(name)}`;
        const { status, headers, text } = await get(path);
        expect([status, (JSON.parse(text) as BreakerDetail).name], path).to.deep.equal([200, name]);
        expect(headers['content-type']).to.equal('application/json; charset=utf-8');
        expect(headers).not.to.have.property('x');
        expect((await post(`${path}/open`, bearer(TOKEN))).status).to.equal(200);
        expect(breaker.state).to.equal('open');
      }
      const { text } = await get('/metrics');
      expect(
        text.split('\n').every((line) => /^(#|[a-z_]+\{[^\n]*\} \S+$|$)/.test(line)),
        text,
      ).to.be.true;
    });

    it('publishes metrics beside it', async () => {
      await start();
      succeed(service.breaker(PAYMENTS));
      const { status, text, headers } = await get('/metrics');
      expect(status).to.equal(200);
      expect(text).to.match(/^circuit_breaker_state\{[^}]*payments[^}]*\} 0$/m);
      expect(headers['x-content-type-options']).to.equal('nosniff');
    });

    it('gives the latest traces, and the same as a download for trace viewers', async () => {
      await start();
      const breaker = service.breaker(PAYMENTS, { failureThreshold: 1 });
      await handleRequest(service, 'POST /checkout', breaker, refuse);
      await handleRequest(service, 'POST /checkout', breaker, refuse);
      const { traces } = JSON.parse((await get('/traces')).text) as Pick<Snapshot, 'traces'>;
      expect(traces).to.have.length(2);
      const [rejected, opener] = traces;
      const rejection = rejected!.spans[1]!.events[0]!;
      expect(rejection.attributes['circuit_breaker.opened_by.trace_id']).to.equal(opener!.traceId);
      const { transitions } = JSON.parse((await get(AT_PAYMENTS)).text) as BreakerDetail;
      expect(transitions[0]!.traceId).to.equal(opener!.traceId);

      const download = await get(`/traces/otlp?trace=${opener!.traceId}`);
      expect(download.headers['content-disposition']).to.include('attachment');
      const ids = [...download.text.matchAll(/"traceId": "(\w+)"/g)].map(([, traceId]) => traceId);
      expect(new Set(ids)).to.deep.equal(new Set([opener!.traceId]));
      expect(download.text).to.include('"stringValue": "shop"');
    });

    it('answers HEAD as it answers GET, without a body', async () => {
      await start();
      for (const path of ['/', '/breakers', '/healthz', '/events', '/metrics']) {
        const answer = await get(path, { method: 'HEAD' });
        expect([path, answer.status, answer.text]).to.deep.equal([path, 200, '']);
      }
    });
  });

  describe('health', () => {
    const healthInFull = async (query = '') => JSON.parse((await get(`/healthz${query}`)).text) as HealthInFull;
    const health = async (query = '') => {
      const { status, text } = await get(`/healthz${query}`);
      return [status, (JSON.parse(text) as HealthInFull).healthy];
    };
    /** One whose target has answered. */
    const answering = (name: string, options?: BreakerOptions) => {
      const breaker = service.breaker(name, options);
      succeed(breaker);
      return breaker;
    };

    it('is bad while any circuit is open that rejects calls', async () => {
      await start();
      const breaker = answering('a');
      service.breaker('b');
      expect(await health()).to.deep.equal([200, true]);
      breaker.forceOpen();
      expect(await health()).to.deep.equal([503, false]);
      breaker.reset();
      expect(await health()).to.deep.equal([200, true]);
    });

    it('leaves out breakers that observe', async () => {
      await start();
      answering('a', { mode: 'observe' }).forceOpen();
      expect(await health()).to.deep.equal([200, true]);
    });

    it('leaves out targets that have never answered', async () => {
      await start();
      openCircuit(service.breaker('no such host'));
      expect(await health()).to.deep.equal([200, true]);
      openCircuit(answering('a'));
      expect(await health()).to.deep.equal([503, false]);
    });

    it('is good again as soon as a call could be a probe, so that calls come which close the circuit', async () => {
      await start();
      const breaker = answering('a', { openDuration: 50, successThreshold: 1 });
      openCircuit(breaker);
      while ((await health())[0] !== 200);
      expect(breaker.state).to.equal('open');
      succeed(breaker);
      expect(breaker.state).to.equal('closed');
    });

    it('says as registry.healthCheck() does', async () => {
      await start();
      const { registry } = service.runtime;
      const agrees = async () => {
        const { healthy, total, closed, open, halfOpen } = await healthInFull();
        expect({ healthy, total, closed, open, halfOpen }).to.deep.equal(registry.healthCheck());
      };
      openCircuit(service.breaker('never answered'));
      await agrees();
      openCircuit(answering('a'));
      await agrees();
      answering('b', { mode: 'observe' }).forceOpen();
      await agrees();
    });

    it('can be about some breakers alone', async () => {
      await start();
      answering('a').forceOpen();
      service.breaker('b');
      expect(await health('?breaker=b')).to.deep.equal([200, true]);
      expect(await health('?breaker=b&breaker=a')).to.deep.equal([503, false]);
      expect(await health('?breaker=not-made-yet')).to.deep.equal([200, true]);
    });

    it('names breakers that it was asked for and that do not exist, and the log says it once', async () => {
      const lines = captureDiag();
      await start();
      answering('payments').forceOpen();
      for (let time = 0; time < 2; time++) {
        const { healthy, total, unknown } = await healthInFull('?breaker=paymnets&breaker=later');
        expect({ healthy, total, unknown }).to.deep.equal({ healthy: true, total: 0, unknown: ['paymnets', 'later'] });
      }
      const said = lines.filter((line) => line.includes('/healthz'));
      expect(said.map((line) => line.slice(0, 5))).to.deep.equal(['warn:', 'info:']);
      expect(said[0]).to.match(/"paymnets".*Did you mean "payments"\?/);
    });

    it('names what is unhealthy, and why nothing is rejected or the rules cannot be taken', async () => {
      await start();
      answering('a').forceOpen();
      answering('b');
      const health = await healthInFull();
      expect(health).to.deep.equal({
        healthy: false,
        rule: 'any_open',
        total: 2,
        closed: 1,
        open: 1,
        halfOpen: 0,
        unhealthy: [{ name: 'a' }],
        unknown: [],
        panic: null,
        rulesProblem: null,
      });
    });

    it('is bad only when all circuits are open, by the rule all_open', async () => {
      await start({ OTEL_BREAKER_HEALTH: 'all_open' });
      expect(await health()).to.deep.equal([200, true]);
      answering('a').forceOpen();
      const other = answering('b');
      expect(await health()).to.deep.equal([200, true]);
      other.forceOpen();
      expect(await health()).to.deep.equal([503, false]);
      // Speaks neither for nor against.
      openCircuit(service.breaker('never answered'));
      expect(await health()).to.deep.equal([503, false]);
      service.breaker('not open');
      expect(await health()).to.deep.equal([200, true]);
    });

    it('is never bad by the rule never', async () => {
      await start({ OTEL_BREAKER_HEALTH: 'never' });
      answering('a').forceOpen();
      expect(await health()).to.deep.equal([200, true]);
    });
  });

  describe('changes', () => {
    it('are impossible without a token in the environment', async () => {
      await start();
      const breaker = service.breaker(PAYMENTS);
      for (const action of ['open', 'reset', 'observe', 'enforce']) {
        expect((await post(`${AT_PAYMENTS}/${action}`, bearer('undefined'))).status).to.equal(404);
        expect((await post(`${AT_PAYMENTS}/${action}`, bearer(''))).status).to.equal(404);
      }
      expect([breaker.state, breaker.config.mode]).to.deep.equal(['closed', 'enforce']);
    });

    it('are made with it', async () => {
      await start({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
      const breaker = service.breaker(PAYMENTS);
      const act = async (action: string) => {
        const { status, text } = await post(`${AT_PAYMENTS}/${action}`, bearer(TOKEN));
        return [status, (JSON.parse(text) as BreakerView).state, breaker.state, breaker.config.mode];
      };
      expect(await act('open')).to.deep.equal([200, 'open', 'open', 'enforce']);
      expect(await act('observe')).to.deep.equal([200, 'open', 'open', 'observe']);
      expect(await act('enforce')).to.deep.equal([200, 'open', 'open', 'enforce']);
      expect(await act('reset')).to.deep.equal([200, 'closed', 'closed', 'enforce']);
      expect((await post('/breakers/unknown/open', bearer(TOKEN))).status).to.equal(404);
    });

    it('are remembered with the reason that was given, and refused with one that is too long or gives orders', async () => {
      await start({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
      const breaker = service.breaker(PAYMENTS);
      const because = (action: string, reason: string) =>
        post(`${AT_PAYMENTS}/${action}?reason=${encodeURIComponent(reason)}`, bearer(TOKEN));
      for (const reason of ['x'.repeat(201), 'a\nb', 'a\x1b[2J', 'a\u202eb']) {
        expect((await because('open', reason)).status, reason).to.equal(400);
      }
      expect(breaker.state).to.equal('closed');
      await because('open', 'they asked for it');
      await because('open', 'once more');
      await because('observe', 'to look at it');
      const { transitions, trouble } = JSON.parse((await get(AT_PAYMENTS)).text) as BreakerDetail;
      expect(transitions.map(({ from, to, action, reason }) => [from, to, action, reason])).to.deep.equal([
        ['open', 'open', 'observe', 'set to observe by hand: to look at it'],
        ['open', 'open', 'open', 'opened by hand: once more'],
        ['closed', 'open', 'open', 'opened by hand: they asked for it'],
      ]);
      expect(trouble!.reason).to.equal('opened by hand: they asked for it');
    });

    it('say so where a circuit is opened whose mode rejects no call', async () => {
      await start({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
      service.breaker(PAYMENTS, { mode: 'observe' });
      const { text } = await post(`${AT_PAYMENTS}/open`, bearer(TOKEN));
      expect(JSON.parse(text)).to.include({ note: 'The circuit is open, and rejects no call: its mode is observe' });
    });

    it('are refused without the right token, and from pages of other origins even with it', async () => {
      await start({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
      const breaker = service.breaker(PAYMENTS);
      const tries: readonly [number, Record<string, string>][] = [
        [401, {}],
        [401, bearer('wrong')],
        [401, bearer(`${TOKEN}x`)],
        [401, bearer(TOKEN.slice(1))],
        [401, { authorization: TOKEN }],
        [401, { cookie: `token=${TOKEN}` }],
        [403, { ...bearer(TOKEN), origin: 'https://evil.example' }],
        [403, { ...bearer(TOKEN), origin: 'null' }],
        [403, { ...bearer(TOKEN), 'sec-fetch-site': 'cross-site' }],
        [421, { ...bearer(TOKEN), host: 'evil.example' }],
        [403, { ...bearer(TOKEN), 'x-forwarded-for': '10.0.0.1' }],
      ];
      for (const [status, headers] of tries) {
        const answer = await post(`${AT_PAYMENTS}/open`, headers);
        expect(answer.status, JSON.stringify(headers)).to.equal(status);
        expect(answer.headers['www-authenticate'] !== undefined).to.equal(status === 401);
      }
      expect(breaker.state).to.equal('closed');
    });

    it('are made by POST alone, and of the four kinds alone', async () => {
      await start({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
      const breaker = service.breaker(PAYMENTS);
      for (const method of ['PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        const answer = await get(`${AT_PAYMENTS}/open`, { method, headers: bearer(TOKEN) });
        expect([method, answer.status, answer.headers.allow]).to.deep.equal([method, 405, 'GET, HEAD']);
        expect(answer.headers).not.to.have.property('access-control-allow-origin');
      }
      expect((await get(`${AT_PAYMENTS}/open`, { headers: bearer(TOKEN) })).status).to.equal(404);
      for (const path of [`${AT_PAYMENTS}/off`, AT_PAYMENTS, '/breakers', '/healthz', '/', '/metrics']) {
        expect((await post(path, bearer(TOKEN))).status, path).to.equal(405);
      }
      expect((await post('/open', bearer(TOKEN))).status).to.equal(404);
      expect(breaker.state).to.equal('closed');
    });

    it('are not changed by a body, however long', async () => {
      await start({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
      const breaker = service.breaker(PAYMENTS);
      const body = 'x'.repeat(2_000_000);
      const { status } = await get(`${AT_PAYMENTS}/open`, { method: 'POST', headers: bearer(TOKEN), body });
      expect([status, breaker.state]).to.deep.equal([200, 'open']);
    });

    it('are never to be had from the token in an answer', async () => {
      await start({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
      service.breaker(PAYMENTS);
      for (const path of ['/', '/breakers', AT_PAYMENTS, '/healthz', '/traces', '/metrics', '/nothing']) {
        expect((await get(path)).text, path).not.to.include(TOKEN);
      }
      const first = await readEvents(service.url, (events) => events.length > 0);
      expect(JSON.stringify(first)).not.to.include(TOKEN);
    });
  });

  describe('the door', () => {
    it('is shut to names that others can give to this address', async () => {
      await start();
      for (const path of ['/', '/breakers', '/events', '/metrics', '/healthz']) {
        expect((await get(path, { headers: { host: 'evil.example:9464' } })).status, path).to.equal(421);
      }
      for (const host of ['localhost', '127.0.0.1:1', '[::1]', 'shop.localhost']) {
        expect((await get('/healthz', { headers: { host } })).status, host).to.equal(200);
      }
    });

    it('knows the names that it was told', async () => {
      await start({ OTEL_BREAKER_CONSOLE_HOSTS: 'ops.example, Shop.Internal' });
      for (const host of ['ops.example:9464', 'shop.internal']) {
        expect((await get('/healthz', { headers: { host } })).status, host).to.equal(200);
      }
      expect((await get('/healthz', { headers: { host: 'evil.example' } })).status).to.equal(421);
    });

    it('opens to the network for metrics, and for health without names, unless told otherwise', async () => {
      const address = addressOnANetwork();
      await start({ OTEL_EXPORTER_PROMETHEUS_HOST: '0.0.0.0' });
      succeed(service.breaker(PAYMENTS));
      const { port } = new URL(service.url);
      const outside = `http://${address}:${port}`;
      expect((await ask(outside, '/metrics', { headers: { host: 'shop:9464' } })).status).to.equal(200);
      for (const path of ['/', '/breakers', '/events', '/traces', '/page/main.js', '/nothing', '/healthz/']) {
        expect((await ask(outside, path)).status, path).to.equal(403);
      }
      service.breaker(PAYMENTS).forceOpen();
      const health = async (base: string, headers: Record<string, string>) => {
        const { status, text } = await ask(base, `/healthz?breaker=wrong&breaker=${encodeURIComponent(PAYMENTS)}`, {
          headers,
        });
        return [status, JSON.parse(text) as unknown];
      };
      const brief = { healthy: false, total: 1, closed: 0, open: 1, halfOpen: 0, unknown: 1 };
      for (const host of ['shop:9464', '10.0.0.7:9464']) {
        expect(await health(outside, { host }), host).to.deep.equal([503, brief]);
      }
      const here = `http://127.0.0.1:${port}`;
      expect(await health(here, { host: 'shop:9464' })).to.deep.equal([503, brief]);
      expect((await health(here, { host: 'localhost' }))[1]).to.deep.include({ unknown: ['wrong'] });
      expect((await ask(`http://127.0.0.1:${port}`, '/breakers')).status).to.equal(200);
      await service.stop();

      await start({ OTEL_EXPORTER_PROMETHEUS_HOST: '0.0.0.0', OTEL_BREAKER_CONSOLE: 'network' });
      const opened = `http://${address}:${new URL(service.url).port}`;
      expect((await ask(opened, '/breakers')).status).to.equal(200);
      expect((await ask(opened, '/breakers', { headers: { host: 'evil.example' } })).status).to.equal(421);
    });

    it('can be shut altogether, but for scrapers and health without names', async () => {
      await start({ OTEL_BREAKER_CONSOLE: 'off' });
      expect((await get('/metrics')).status).to.equal(200);
      expect(JSON.parse((await get('/healthz?breaker=a')).text)).to.include({ healthy: true, unknown: 1 });
      for (const path of ['/', '/breakers']) expect((await get(path)).status, path).to.equal(404);
    });

    it('lets no path out of the folder of the page', async () => {
      await start();
      for (const path of [
        '/page/../package.json',
        '/page/..%2f..%2fpackage.json',
        '/page/%2e%2e/%2e%2e/package.json',
        '/page//etc/passwd',
        '/page/..\\..\\package.json',
        '/page/',
        '/page/main.js%00.txt',
        '/../package.json',
        '/__proto__',
        '/constructor',
        '/page/constructor',
      ]) {
        expect((await get(path)).status, path).to.equal(404);
      }
      expect((await get('/page/main.js')).status).to.equal(200);
    });

    it('survives what is no HTTP', async () => {
      await start();
      const socket = connect(Number(new URL(service.url).port), '127.0.0.1');
      socket.end('GET /% HTTP/9\r\n\r\n');
      await once(socket.resume(), 'close');
      expect((await get('//evil.example/%')).status).to.equal(404);
      expect((await get('/healthz?%')).status).to.equal(200);
    });

    it('sends headers that keep other sites out', async () => {
      await start();
      for (const path of ['/', '/breakers', '/nothing', '/page/main.js', '/metrics']) {
        const { headers } = await get(path);
        expect(headers['content-security-policy'], path)
          .to.include("script-src 'self'")
          .and.to.include("frame-ancestors 'none'");
        expect(headers['content-security-policy']).not.to.include('unsafe');
        expect(headers['x-content-type-options'], path).to.equal('nosniff');
        expect(headers['cache-control'], path).to.equal('no-store');
        expect(headers, path).not.to.have.property('access-control-allow-origin');
      }
    });
  });

  describe('events', () => {
    it('begin with everything there is, and tell of a transition at once', async () => {
      await start();
      const breaker = service.breaker(PAYMENTS);
      service.breaker('idle');
      const events = readEvents(service.url, (seen) => seen.some(hasChanges));
      const [snapshot, ...others] = await withAction(events, () => openCircuit(breaker));
      const { changed: all, admin } = snapshot!.data as Snapshot;
      expect([snapshot!.name, all.length, admin]).to.deep.equal(['snapshot', 2, false]);
      const { changed, removed, transitions } = others.find(hasChanges)!.data as Tick;
      expect(transitions).to.have.length(1);
      const reason = '5 consecutive failures (threshold 5)';
      expect(transitions[0]).to.include({ name: PAYMENTS, to: 'open', reason });
      // The one in which nothing happened is not sent again, and of the other one what is different.
      const [id] = all.find(([, { name }]) => name === PAYMENTS)!;
      expect(changed.map(([number]) => number)).to.deep.equal([id]);
      const [, patch] = changed[0]!;
      expect(patch)
        .to.include({ state: 'open', transitionCount: 1 })
        .and.not.to.have.any.keys('name', 'mode', 'labels');
      expect(patch.calls).to.deep.equal({ failure: 5 });
      expect(patch.trouble).to.include({ reason, refusedBefore: 0 });
      expect(removed).to.deep.equal([]);
    });

    it('tell which breakers are gone, and which traces are new', async () => {
      await start();
      const breaker = service.breaker(PAYMENTS, { failureThreshold: 1 });
      service.breaker('short-lived');
      const enough = (seen: readonly ServerEvent[]) => ticksOf(seen).some(({ traces }) => traces.length > 0);
      const events = await withAction(readEvents(service.url, enough), async () => {
        service.runtime.registry.remove('short-lived');
        await handleRequest(service, 'POST /checkout', breaker, refuse);
      });
      const { changed } = events[0]!.data as Snapshot;
      const [gone] = changed.find(([, { name }]) => name === 'short-lived')!;
      expect(ticksOf(events).flatMap(({ removed }) => removed)).to.deep.equal([gone]);
      const traces = ticksOf(events).flatMap((tick) => tick.traces);
      expect(traces.map(({ name }) => name)).to.deep.equal(['POST /checkout']);
    });

    it('are for so many readers and no more', async () => {
      await start();
      const readers = Array.from({ length: 20 }, () => openEvents(service.url));
      for (const reader of readers) await reader.begun;
      expect((await get('/events')).status).to.equal(503);
      for (const reader of readers) reader.close();
    });
  });
});

interface ServerEvent {
  readonly name: string;
  readonly data: unknown;
}

function hasChanges({ name, data }: ServerEvent): boolean {
  return name === 'tick' && (data as Tick).changed.length > 0;
}

function ticksOf(events: readonly ServerEvent[]): readonly Tick[] {
  return events.filter(({ name }) => name === 'tick').map(({ data }) => data as Tick);
}

type Reading = Promise<readonly ServerEvent[]> & { readonly first: Promise<unknown> };

/** Reads events until there are enough of them; `first` is when the first has come. */
function readEvents(url: string, enough: (events: readonly ServerEvent[]) => boolean): Reading {
  let begun: () => void;
  const first = new Promise<void>((resolve) => (begun = resolve));
  const all = new Promise<readonly ServerEvent[]>((resolve, reject) => {
    const events: ServerEvent[] = [];
    let text = '';
    const outgoing = httpRequest(`${url}/events`, { agent: false }, (answer) => {
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        const blocks = text.split('\n\n');
        text = blocks.pop()!;
        for (const block of blocks) {
          const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
          if (name !== undefined) events.push({ name, data: JSON.parse(data!) as unknown });
        }
        if (events.length > 0) begun();
        if (!enough(events)) return;
        answer.destroy();
        resolve(events);
      });
    });
    outgoing.on('error', reject).end();
  });
  return Object.assign(all, { first });
}

/** Does something once the reader is there, and waits for what it reads. */
async function withAction(events: Reading, action: () => unknown): Promise<readonly ServerEvent[]> {
  await events.first;
  await action();
  return events;
}

function openEvents(url: string): { readonly begun: Promise<unknown>; close(): void } {
  const outgoing = httpRequest(`${url}/events`, { agent: false }).end();
  // Closing it is what the test does.
  outgoing.on('error', () => {});
  return { begun: once(outgoing, 'response'), close: () => outgoing.destroy() };
}

function addressOnANetwork(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outside = addresses.find(({ internal, family }) => !internal && family === 'IPv4');
  if (outside === undefined) throw new Error('This test needs a network interface besides loopback.');
  return outside.address;
}
