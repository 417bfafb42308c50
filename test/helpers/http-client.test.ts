import { expect } from 'chai';
import type { RequestListener } from 'node:http';
import { CircuitBreakerHttpClient, CircuitOpenError, type CircuitBreakerHttpClientOptions } from '../../src/index.js';
import { closeAfterEach, listen, rejectionOf } from '../support/listen.js';
import { newName } from '../support/names.js';

describe('CircuitBreakerHttpClient', () => {
  const close = closeAfterEach();

  async function clientOf(handler: RequestListener, options: Partial<CircuitBreakerHttpClientOptions> = {}) {
    const server = close(await listen(handler));
    return new CircuitBreakerHttpClient({
      name: newName('http'),
      baseUrl: server.url,
      failureThreshold: 2,
      ...options,
    });
  }

  it('has the preset httpApi', async () => {
    expect(new CircuitBreakerHttpClient({ name: newName() }).breaker.config.preset).to.equal('httpApi');
  });

  it('sends each method with its body, JSON where the body is an object, and the headers of client and request', async () => {
    const client = await clientOf(
      (request, response) => {
        let body = '';
        request.on('data', (chunk) => (body += chunk));
        request.on('end', () => {
          const { method, url, headers } = request;
          response.end(
            JSON.stringify({ method, url, body, type: headers['content-type'], a: headers.a, b: headers.b }),
          );
        });
      },
      { headers: { a: 'client', b: 'client' } },
    );
    const init = { headers: { b: 'request' } };
    const seen = async (answer: Promise<Response>) => (await answer).json() as Promise<Record<string, unknown>>;
    const headers = { a: 'client', b: 'request' };
    expect(await seen(client.get('/x?y=1', init))).to.deep.equal({
      method: 'GET',
      url: '/x?y=1',
      body: '',
      ...headers,
    });
    expect(await seen(client.delete('/x', init))).to.include({ method: 'DELETE', ...headers });
    for (const name of ['post', 'put', 'patch'] as const) {
      const sent = await seen(client[name]('/x', { n: 1 }, init));
      expect(sent).to.include({ method: name.toUpperCase(), body: '{"n":1}', type: 'application/json', ...headers });
      expect(await seen(client[name]('/x', 'text'))).to.include({ body: 'text', type: 'text/plain;charset=UTF-8' });
    }
    expect((await client.head('/x')).status).to.equal(200);
    expect(client.breaker.stats().calls).to.include({ success: 9, failure: 0, inFlight: 0 });
  });

  it('gives answers of any status, counts 5xx as failures, and rejects without a request once open', async () => {
    let requests = 0;
    const client = await clientOf((_, response) => {
      requests++;
      response.writeHead(500).end('broken');
    });
    for (let call = 0; call < 2; call++) {
      const answer = await client.get('/');
      expect([answer.status, await answer.text()]).to.deep.equal([500, 'broken']);
    }
    expect(client.breaker.state).to.equal('open');
    expect(await rejectionOf(client.get('/'))).to.be.instanceOf(CircuitOpenError);
    expect(requests).to.equal(2);
  });

  it('holds the circuit open for as long as Retry-After asks, where that is honoured', async () => {
    const client = await clientOf((_, response) => response.writeHead(429, { 'retry-after': '7' }).end(), {
      honorRetryAfter: true,
    });
    await client.get('/');
    const error = (await rejectionOf(client.get('/'))) as CircuitOpenError;
    expect(error.retryAfterMs).to.be.within(6_000, 7_000);
  });

  it('passes the error of fetch on and counts a refused connection', async () => {
    const server = await listen(() => {});
    await server.close();
    const client = new CircuitBreakerHttpClient({ name: newName(), baseUrl: server.url });
    const error = (await rejectionOf(client.get('/'))) as Error & { cause: { code: string } };
    expect(error).to.be.instanceOf(TypeError);
    expect(error.cause.code).to.equal('ECONNREFUSED');
    expect(client.breaker.stats().calls.failure).to.equal(1);
  });

  it('counts a good answer when its body has come, and one that breaks off as a failure', async () => {
    const client = await clientOf((request, response) => {
      response.write('a');
      if (request.url === '/broken') response.socket!.destroySoon();
      else response.end('b');
    });
    const good = await client.get('/');
    expect(client.breaker.stats().calls).to.include({ success: 0, inFlight: 1 });
    expect(await good.text()).to.equal('ab');
    expect(client.breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
    const broken = await client.get('/broken');
    expect(await rejectionOf(broken.text())).to.be.instanceOf(TypeError);
    expect(client.breaker.stats().calls).to.include({ failure: 1, inFlight: 0 });
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await client.get('/')).body as unknown as AsyncIterable<Uint8Array>) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).to.equal('ab');
    expect(client.breaker.stats().calls).to.include({ success: 2, inFlight: 0 });
  });

  it('does not hold it against the server that its answer is no JSON', async () => {
    const client = await clientOf((_, response) => response.end('text'));
    expect(await rejectionOf((await client.get('/')).json())).to.be.instanceOf(SyntaxError);
    expect(client.breaker.stats().calls).to.include({ success: 1, failure: 0 });
  });

  it('counts its own timeout as a failure and gives no verdict on an abort of the caller, whatever the reason', async () => {
    const client = await clientOf(() => {}, { timeout: 20 });
    expect(await rejectionOf(client.get('/'))).to.have.property('name', 'TimeoutError');
    expect(client.breaker.stats().calls.failure).to.equal(1);

    let received!: () => void;
    const arrived = new Promise<void>((resolve) => (received = resolve));
    const patient = await clientOf(() => received());
    const controller = new AbortController();
    const reason = new Error('no longer wanted');
    const call = rejectionOf(patient.get('/', { signal: controller.signal }));
    await arrived;
    controller.abort(reason);
    expect(await call).to.equal(reason);
    expect(patient.breaker.stats().calls).to.include({ ignored: 1, failure: 0, inFlight: 0 });
  });

  it('does not hold wrong arguments against the server', async () => {
    const client = await clientOf((_, response) => response.end());
    const calls = [
      () => client.get('http://[bad'),
      () => client.get('/', { headers: { 'a b': '1' } }),
      () => client.get('http://127.0.0.1:1/'),
      () => client.fetch('/', { method: 'GET', body: 'text' }),
    ];
    for (const call of calls) {
      for (let time = 0; time < 5; time++) expect(await rejectionOf(call())).to.be.instanceOf(TypeError);
    }
    expect(client.breaker.state).to.equal('closed');
    expect(client.breaker.stats().calls).to.include({ failure: 0, success: 0, inFlight: 0 });
  });

  it('takes a good answer whose reader leaves for a success', async () => {
    const client = await clientOf((_, response) => void response.write('a'));
    await (await client.get('/')).body!.cancel();
    const controller = new AbortController();
    const read = rejectionOf((await client.get('/', { signal: controller.signal })).text());
    controller.abort();
    expect(await read).to.have.property('name', 'AbortError');
    const reader = (await client.get('/')).body!.getReader();
    await reader.read();
    await reader.cancel();
    expect(client.breaker.stats().calls).to.include({ success: 3, ignored: 0, failure: 0, inFlight: 0 });
  });

  it('lets a loop that retries at once not stop the process', async () => {
    const client = await clientOf((_, response) => response.end());
    client.breaker.forceOpen();
    let turned = false;
    setTimeout(() => (turned = true), 10);
    while (!turned) expect(await rejectionOf(client.get('/'))).to.be.instanceOf(CircuitOpenError);
  });

  it('uses the fetch it is given', async () => {
    const addresses: string[] = [];
    const client = new CircuitBreakerHttpClient({
      name: newName(),
      fetch: async (address) => {
        addresses.push((address as URL).href);
        return new Response(null, { status: 204 });
      },
    });
    expect((await client.get('http://example.test/a')).status).to.equal(204);
    expect(addresses).to.deep.equal(['http://example.test/a']);
    expect(client.breaker.stats().calls.success).to.equal(1);
  });

  for (const [what, answer, counted] of [
    ['one without a stream, as a test makes it', { ok: true, status: 200, json: async () => 'body' }, 'success'],
    ['one whose methods are not all there', { status: 200, body: {}, json: async () => 'body' }, 'success'],
    ['one that is read at once', { status: 200, body: {}, json: () => 'body' }, 'success'],
    ['a frozen one', Object.freeze({ status: 200, body: {}, json: async () => 'body' }), 'ignored'],
    ['nothing', undefined, 'ignored'],
  ] as const) {
    it(`gives the caller what another fetch answers, be it ${what}`, async () => {
      const client = new CircuitBreakerHttpClient({
        name: newName(),
        fetch: async () => answer as unknown as Response,
      });
      const response = await client.get('http://example.test/');
      expect(response).to.equal(answer);
      if (answer !== undefined) expect(await response.json()).to.equal('body');
      expect(client.breaker.stats().calls).to.include({ [counted]: 1, inFlight: 0 });
    });
  }
});
