import { expect } from 'chai';
import http from 'node:http';
import https from 'node:https';
import { once, type EventEmitter } from 'node:events';
import { text } from 'node:stream/consumers';
import type { Socket } from 'node:net';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { closeOf, countsOf, finish, get, guardHttp, nextTurn, outcomesOf, type GuardedHttp } from '../support/http.js';
import { findDeadPort, serve, serveRaw, serveTls, stopServers } from '../support/servers.js';

interface WebSocketLike extends EventEmitter {
  send(data: unknown): void;
  terminate(): void;
}
// This package brings no types.
const { WebSocketServer, WebSocket } = require('ws') as {
  WebSocketServer: new (options: { server: http.Server }) => {
    on(event: 'connection', listener: (socket: WebSocketLike) => void): void;
  };
  WebSocket: new (url: string) => WebSocketLike;
};

const OK = 'HTTP/1.1 200 OK\r\n';

describe('http outcomes', () => {
  let guarded: GuardedHttp;
  before(() => (guarded = guardHttp()));
  after(() => guarded.instrumentation.disable());
  afterEach(async () => {
    guarded.registry.clear();
    await stopServers();
  });

  /** A GET whose answer is read to the end, and what it counted as. */
  async function outcomeOf(port: number, options: http.RequestOptions = {}, breaker: BreakerOptions = {}) {
    const watched = guarded.breakerOf(`http://127.0.0.1:${port}`, breaker);
    const ending = await get({ port, ...options });
    return { ...ending, outcome: await outcomesOf(watched) };
  }

  /** What a GET counts as that the caller ends by itself, in one way or another. */
  async function outcomeOfEnding(
    port: number,
    end: (req: http.ClientRequest) => void,
    options: http.RequestOptions = {},
    breaker: BreakerOptions = {},
  ): Promise<string> {
    const watched = guarded.breakerOf(`http://127.0.0.1:${port}`, breaker);
    const req = http.get({ host: '127.0.0.1', port, agent: false, ...options });
    req.on('error', () => {});
    const closed = closeOf(req);
    end(req);
    await closed;
    return outcomesOf(watched);
  }

  /** A server that takes requests and says nothing. */
  const serveSilence = () => serveRaw(() => {});

  describe('success:', () => {
    for (const status of [200, 201, 204, 304, 400, 401, 404, 409, 422, 501, 505]) {
      it(`an answer with status ${status}`, async () => {
        const { port } = await serve((_, res) => res.writeHead(status).end());
        expect((await outcomeOf(port)).outcome).to.equal('1 success');
      });
    }

    it('a HEAD with a length and no body', async () => {
      const { port } = await serve((_, res) => res.writeHead(200, { 'content-length': 1_000 }).end());
      expect((await outcomeOf(port, { method: 'HEAD' })).outcome).to.equal('1 success');
    });

    it('a 304 that names the length of what was not sent', async () => {
      const { port } = await serveRaw((socket) => socket.end('HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n'));
      expect((await outcomeOf(port)).outcome).to.equal('1 success');
    });

    it('the final answer after 103 and 102, and not these', async () => {
      const { port, origin } = await serveRaw((socket, _, index) => {
        if (index > 0) socket.end(`${OK}Content-Length: 2\r\n\r\nok`);
        else socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n');
      });
      const req = http.request({ host: '127.0.0.1', port, method: 'POST', agent: false });
      const statuses: number[] = [];
      req.on('information', ({ statusCode }) => {
        statuses.push(statusCode);
        if (statusCode === 102) {
          expect(countsOf(guarded.breakerOf(origin))).to.equal('1 inFlight');
          req.write('more');
        }
      });
      req.flushHeaders();
      const [res] = (await once(req, 'response')) as [http.IncomingMessage];
      const closed = closeOf(req);
      expect(await text(res)).to.equal('ok');
      req.end();
      await closed;
      expect(statuses).to.deep.equal([103, 102]);
      expect(await outcomesOf(guarded.breakerOf(origin))).to.equal('1 success');
    });

    it('an upload that waited for 100-continue', async () => {
      const { port, origin } = await serve((req, res) => void text(req).then((body) => res.end(body)));
      const req = http.request({ port, host: '127.0.0.1', method: 'POST', headers: { expect: '100-continue' } });
      req.flushHeaders();
      await once(req, 'continue');
      req.write('body');
      expect((await finish(req)).body).to.equal('body');
      expect(await outcomesOf(guarded.breakerOf(origin))).to.equal('1 success');
    });

    it('a body in chunks that takes its time, at its end and not before', async () => {
      let respond!: http.ServerResponse;
      const { port, origin } = await serve((_, res) => (respond = res).write('data: 1\n\n'));
      const req = http.get({ host: '127.0.0.1', port, agent: false });
      const [res] = (await once(req, 'response')) as [http.IncomingMessage];
      const events = res.setEncoding('utf8')[Symbol.asyncIterator]();
      expect((await events.next()).value).to.equal('data: 1\n\n');
      for (let event = 2; event < 5; event++) {
        respond.write(`data: ${event}\n\n`);
        expect((await events.next()).value).to.equal(`data: ${event}\n\n`);
        expect(countsOf(guarded.breakerOf(origin))).to.equal('1 inFlight');
      }
      respond.end();
      expect((await events.next()).done).to.equal(true);
      expect(await outcomesOf(guarded.breakerOf(origin))).to.equal('1 success');
    });

    it('an answer without a length that ends with its connection', async () => {
      const { port } = await serveRaw((socket) => socket.end(`${OK}Connection: close\r\n\r\nall of it`));
      const { body, outcome } = await outcomeOf(port);
      expect(body).to.equal('all of it');
      expect(outcome).to.equal('1 success');
    });

    const breaks: Record<string, (req: http.ClientRequest, res: http.IncomingMessage) => void> = {
      'destroys the request': (req) => req.destroy(),
      'destroys the answer': (_, res) => res.destroy(),
      'destroys the answer with an error': (_, res) => res.destroy(new Error('enough')),
      'breaks out of reading it': (_, res) =>
        void (async () => {
          for await (const chunk of res) if (chunk) break;
        })(),
    };
    for (const [form, end] of Object.entries(breaks)) {
      it(`a caller that ${form} within the body`, async () => {
        const { port } = await serve((_, res) => res.write('more to come'));
        const outcome = outcomeOfEnding(port, (req) =>
          req.on('response', (res) => {
            res.on('error', () => {});
            end(req, res);
          }),
        );
        expect(await outcome).to.equal('1 success');
      });
    }

    it('an answer that is complete before its request is', async () => {
      const { port, origin } = await serve((_, res) => res.end());
      const req = http.request({ host: '127.0.0.1', port, method: 'POST', agent: false });
      req.write('never ended');
      await once(req, 'response');
      expect(countsOf(guarded.breakerOf(origin))).to.equal('1 success');
      const closed = closeOf(req.on('error', () => {}));
      req.destroy();
      await closed;
      expect(countsOf(guarded.breakerOf(origin))).to.equal('1 success');
    });

    it('is told before the caller hears the end, and can begin the next call there', async () => {
      const { port, origin } = await serve((_, res) => res.end('ok'));
      for (const agent of [false, new http.Agent({ keepAlive: true })] as const) {
        const breaker = guarded.breakerOf(origin);
        const [res] = (await once(http.get({ host: '127.0.0.1', port, agent }), 'response')) as [http.IncomingMessage];
        const seen = once(res, 'end').then(() => breaker.stats().calls);
        res.resume();
        res.prependListener('end', () => expect(breaker.stats().calls.inFlight).to.equal(0));
        expect((await seen).inFlight).to.equal(0);
        if (agent) agent.destroy();
      }
    });

    it('an answer that nobody listens for', async () => {
      const { port } = await serve((_, res) => res.end('dumped'));
      expect(await outcomeOfEnding(port, () => {})).to.equal('1 success');
    });

    it('an answer that came while the request was still being written, once both are over', async () => {
      const { port, origin } = await serve((_, res) => res.end('early'));
      const req = http.request({ host: '127.0.0.1', port, method: 'POST', agent: false });
      req.write('some');
      const [res] = (await once(req, 'response')) as [http.IncomingMessage];
      expect(await text(res)).to.equal('early');
      const closed = closeOf(req);
      req.end('rest');
      await closed;
      expect(await outcomesOf(guarded.breakerOf(origin))).to.equal('1 success');
    });

    it('a WebSocket, from its upgrade on', async () => {
      const { server, port, origin } = await serve((_, res) => res.end());
      new WebSocketServer({ server }).on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
      const client = new WebSocket(`ws://127.0.0.1:${port}`);
      await once(client, 'open');
      expect(countsOf(guarded.breakerOf(origin))).to.equal('1 success');
      client.send('hello');
      expect(String((await once(client, 'message'))[0])).to.equal('hello');
      client.terminate();
      await once(client, 'close');
      expect(countsOf(guarded.breakerOf(origin))).to.equal('1 success');
    });

    it('an upgrade that nobody listens for', async () => {
      const { port } = await serveRaw((socket) =>
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
      );
      const headers = { connection: 'Upgrade', upgrade: 'x' };
      expect(await outcomeOfEnding(port, () => {}, { headers })).to.equal('1 success');
    });

    it('an upgrade that the server declines with an ordinary answer', async () => {
      const { port } = await serve((_, res) => res.end('no'));
      const headers = { connection: 'Upgrade', upgrade: 'x' };
      expect((await outcomeOf(port, { headers })).outcome).to.equal('1 success');
    });

    it('a request that only said it was slow, with a timeout event that nobody acts on', async () => {
      const { port } = await serveRaw((socket) => {
        setTimeout(() => socket.end(`${OK}Content-Length: 0\r\n\r\n`), 30);
      });
      const end = (req: http.ClientRequest) => req.setTimeout(5);
      expect(await outcomeOfEnding(port, end)).to.equal('1 success');
    });

    it('a complete answer whose connection is reset after it', async () => {
      const { port } = await serveRaw((socket) => {
        socket.write(`${OK}Content-Length: 2\r\n\r\nok`, () => socket.resetAndDestroy());
      });
      const { body, outcome } = await outcomeOf(port);
      expect(body).to.equal('ok');
      expect(outcome).to.equal('1 success');
    });

    it('a complete answer with bytes after it that belong to nothing', async () => {
      const { port } = await serveRaw((socket) =>
        socket.end(`${OK}Connection: close\r\nContent-Length: 2\r\n\r\nokjunk`),
      );
      expect((await outcomeOf(port)).outcome).to.equal('1 success');
    });
  });

  describe('failure:', () => {
    for (const status of [500, 502, 503, 504, 529, 599]) {
      it(`an answer with status ${status}, at its headers`, async () => {
        const { port, origin } = await serve((_, res) => res.writeHead(status).write('the rest never comes'));
        const req = http.get({ host: '127.0.0.1', port, agent: false });
        await once(req, 'response');
        expect(countsOf(guarded.breakerOf(origin))).to.equal('1 failure');
        req.on('error', () => {}).destroy();
      });
    }

    it('a refused connection', async () => {
      const { error, outcome } = await outcomeOf(await findDeadPort());
      expect(error?.code).to.equal('ECONNREFUSED');
      expect(outcome).to.equal('1 failure');
    });

    it('a name that does not resolve', async () => {
      const lookup = (_: unknown, __: unknown, done: (error: Error) => void) =>
        process.nextTick(done, Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' }));
      const { error } = await get({ host: 'api.invalid', lookup: lookup as never });
      expect(error?.code).to.equal('ENOTFOUND');
      expect(await outcomesOf(guarded.breakerOf('http://api.invalid'))).to.equal('1 failure');
    });

    it('a certificate that is not trusted', async () => {
      const { origin } = await serveTls((_, res) => res.end());
      const { error } = await finish(https.request(origin, { agent: false }));
      expect(error?.code).to.equal('DEPTH_ZERO_SELF_SIGNED_CERT');
      expect(await outcomesOf(guarded.breakerOf(origin))).to.equal('1 failure');
    });

    it('TLS spoken to a server that has none', async () => {
      const { port } = await serve((_, res) => res.end());
      const { error } = await finish(https.request({ host: '127.0.0.1', port, agent: false }));
      expect(error).to.be.instanceOf(Error);
      expect(await outcomesOf(guarded.breakerOf(`https://127.0.0.1:${port}`))).to.equal('1 failure');
    });

    it('a connection closed before any answer', async () => {
      const { port } = await serveRaw((socket) => socket.end());
      const { error, outcome } = await outcomeOf(port);
      expect(error?.message).to.equal('socket hang up');
      expect(outcome).to.equal('1 failure');
    });

    it('a connection reset before any answer', async () => {
      const { port } = await serveRaw((socket) => socket.resetAndDestroy());
      const { error, outcome } = await outcomeOf(port);
      expect(error?.code).to.equal('ECONNRESET');
      expect(outcome).to.equal('1 failure');
    });

    const deaths: Record<string, (socket: Socket) => void> = {
      'closed within a body of known length': (socket) => socket.end(`${OK}Content-Length: 100\r\n\r\nsome`),
      'closed within a body in chunks': (socket) => socket.end(`${OK}Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n`),
      'reset within a body': (socket) =>
        socket.write(`${OK}Content-Length: 100\r\n\r\nsome`, () => setImmediate(() => socket.resetAndDestroy())),
      'closed right after the headers': (socket) => socket.end(`${OK}Content-Length: 100\r\n\r\n`),
      'gone wrong in a chunk': (socket) => socket.write(`${OK}Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\nZZ\r\n`),
    };
    for (const [death, die] of Object.entries(deaths)) {
      it(`an answer ${death}, counted once`, async () => {
        const { port } = await serveRaw(die);
        const { error, outcome } = await outcomeOf(port);
        expect(error).to.be.instanceOf(Error);
        expect(outcome).to.equal('1 failure');
      });
    }

    it('an answer with a failure status that dies as well, counted once', async () => {
      const { port } = await serveRaw((socket) => socket.end('HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\nsome'));
      const { error, outcome } = await outcomeOf(port);
      expect(error).to.be.instanceOf(Error);
      expect(outcome).to.equal('1 failure');
    });

    it('an answer that dies unread', async () => {
      const { port } = await serveRaw((socket) => socket.end(`${OK}Content-Length: 100\r\n\r\nsome`));
      expect(await outcomeOfEnding(port, (req) => req.on('response', (res) => res.on('error', () => {})))).to.equal(
        '1 failure',
      );
    });

    const garbage: Record<string, string> = {
      HPE_INVALID_CONSTANT: 'SSH-2.0-OpenSSH_9.2\r\n',
      HPE_HEADER_OVERFLOW: `${OK}X: ${'x'.repeat(20_000)}\r\n\r\n`,
      HPE_UNEXPECTED_CONTENT_LENGTH: `${OK}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok`,
      HPE_INVALID_CONTENT_LENGTH: `${OK}Content-Length: many\r\n\r\n`,
    };
    for (const [code, bytes] of Object.entries(garbage)) {
      it(`an answer that is no http: ${code}`, async () => {
        const { port } = await serveRaw((socket) => socket.write(bytes));
        const { error, outcome } = await outcomeOf(port);
        expect(error?.code).to.match(/^HPE_/);
        expect(outcome).to.equal('1 failure');
      });
    }

    it('a half of an answer on a kept connection, which is no stale one', async () => {
      const { port, origin } = await serveRaw((socket, _, index) => {
        if (index === 0) socket.write(`${OK}Content-Length: 2\r\n\r\nok`);
        else socket.end(`${OK}Content-Length: 100\r\n\r\nsome`);
      });
      const agent = new http.Agent({ keepAlive: true });
      expect((await get({ port, agent })).body).to.equal('ok');
      expect((await get({ port, agent })).error?.code).to.equal('ECONNRESET');
      expect(await outcomesOf(guarded.breakerOf(origin))).to.equal('1 success, 1 failure');
    });
  });

  describe('timeouts:', () => {
    const timeouts: Record<string, (port: number, breaker?: BreakerOptions) => Promise<string>> = {
      'setTimeout and destroy': (port, breaker) =>
        outcomeOfEnding(port, (req) => req.setTimeout(10, () => req.destroy()), {}, breaker),
      'the timeout option and destroy with an error': (port, breaker) =>
        outcomeOfEnding(
          port,
          (req) => req.on('timeout', () => req.destroy(new Error('slow'))),
          { timeout: 10 },
          breaker,
        ),
      'the timeout event and abort': (port, breaker) =>
        outcomeOfEnding(port, (req) => req.setTimeout(10, () => req.abort()), {}, breaker),
      'AbortSignal.timeout': (port, breaker) =>
        outcomeOfEnding(port, () => {}, { signal: AbortSignal.timeout(10) }, breaker),
      'destroy with an error that has a timeout code': (port, breaker) =>
        outcomeOfEnding(
          port,
          (req) => req.destroy(Object.assign(new Error('slow'), { code: 'ETIMEDOUT' })),
          {},
          breaker,
        ),
    };
    for (const [form, call] of Object.entries(timeouts)) {
      it(`${form} is a failure`, async () => {
        expect(await call((await serveSilence()).port)).to.equal('1 failure');
      });
      it(`${form} is ignored where countTimeouts is false`, async () => {
        expect(await call((await serveSilence()).port, { countTimeouts: false })).to.equal('1 ignored');
      });
    }

    it('within a body that stalls', async () => {
      const { port } = await serve((_, res) => res.write('stalls'));
      const end = (req: http.ClientRequest) => {
        req.on('response', (res) => res.on('error', () => {}).resume());
        req.setTimeout(20, () => req.destroy());
      };
      expect(await outcomeOfEnding(port, end)).to.equal('1 failure');
    });

    it('a timeout event, and then the death of the connection', async () => {
      let answer!: Socket;
      const { port } = await serveRaw((socket) => (answer = socket));
      const end = (req: http.ClientRequest) => req.setTimeout(10, () => answer.destroy());
      expect(await outcomeOfEnding(port, end, {}, { countTimeouts: false })).to.equal('1 ignored');
    });
  });

  describe('ignored:', () => {
    const abortions: Record<string, [(req: http.ClientRequest) => void, http.RequestOptions?]> = {
      'destroy in the tick of the request': [(req) => req.destroy()],
      'destroy with an error': [(req) => req.destroy(new Error('changed my mind'))],
      'destroy once it has its socket': [(req) => req.once('socket', () => req.destroy())],
      'destroy once it is sent': [(req) => req.once('finish', () => req.destroy())],
      abort: [(req) => req.once('socket', (socket) => socket.once('connect', () => req.abort()))],
      'an abort signal that was aborted before': [() => {}, { signal: AbortSignal.abort() }],
    };
    for (const [form, [end, options]] of Object.entries(abortions)) {
      it(form, async () => {
        const { port } = await serveSilence();
        expect(await outcomeOfEnding(port, end, options)).to.equal('1 ignored');
      });
    }

    it('an abort signal', async () => {
      const { port } = await serveSilence();
      const controller = new AbortController();
      const end = (req: http.ClientRequest) => req.once('finish', () => controller.abort());
      expect(await outcomeOfEnding(port, end, { signal: controller.signal })).to.equal('1 ignored');
    });

    it('a request that waits for a socket and is given up there', async () => {
      const { port, origin } = await serveSilence();
      const agent = new http.Agent({ maxSockets: 1 });
      const requests = [1, 2].map(() => http.get({ host: '127.0.0.1', port, agent }).on('error', () => {}));
      await once(requests[0]!, 'finish');
      const closed = requests.map(closeOf);
      for (const req of requests.reverse()) req.destroy();
      await Promise.all(closed);
      expect(await outcomesOf(guarded.breakerOf(origin))).to.equal('2 ignored');
    });

    it('a kept connection that the server closed just when it was used again', async () => {
      const { port, origin } = await serveRaw((socket, _, index) => {
        if (index === 0) socket.write(`${OK}Content-Length: 2\r\n\r\nok`);
        else socket.destroy();
      });
      const agent = new http.Agent({ keepAlive: true });
      await get({ port, agent });
      const req = http.request({ port, host: '127.0.0.1', agent });
      expect((await finish(req)).error?.code).to.equal('ECONNRESET');
      expect(req.reusedSocket).to.equal(true);
      expect(await outcomesOf(guarded.breakerOf(origin))).to.equal('1 success, 1 ignored');
    });

    for (const status of [408, 429]) {
      it(`an answer with status ${status}, at its headers`, async () => {
        const { port } = await serve((_, res) => res.writeHead(status).end());
        expect((await outcomeOf(port)).outcome).to.equal('1 ignored');
      });
    }

    it('a 429 in half-open, which closes nothing and gives its slot back', async () => {
      const { port, origin } = await serve((_, res) => res.writeHead(429).end());
      const breaker = guarded.breakerOf(origin, {
        failureThreshold: 1,
        openDuration: 1,
        successThreshold: 1,
        halfOpenMaxCalls: 1,
      });
      breaker.acquire().failure();
      for (let probes = 0; probes < 3; await nextTurn()) if ((await get(port)).status === 429) probes++;
      expect(breaker.state).to.equal('half_open');
    });
  });

  describe('rules of the breaker:', () => {
    it('failureStatuses take the place of the default', async () => {
      const breaker = { failureStatuses: ['4xx', '!404', 200] };
      for (const [status, outcome] of [
        [200, '1 failure'],
        [429, '1 failure'],
        [404, '1 success'],
        [500, '1 success'],
      ] as const) {
        const { port } = await serve((_, res) => res.writeHead(status).end());
        expect((await outcomeOf(port, {}, breaker)).outcome, String(status)).to.equal(outcome);
      }
    });

    it('isFailure gets the error of the transport, or one that has the status', async () => {
      const causes: unknown[] = [];
      const breaker: BreakerOptions = { isFailure: (cause) => (causes.push(cause), 'ignored') };
      const { port } = await serve((_, res) => res.writeHead(500).end());
      expect((await outcomeOf(port, {}, breaker)).outcome).to.equal('1 ignored');
      const { error, outcome } = await outcomeOf(await findDeadPort(), {}, breaker);
      expect(outcome).to.equal('1 ignored');
      expect(causes[0]).to.include({ name: 'HttpStatusError', code: 'ERR_HTTP_STATUS', statusCode: 500 });
      expect(causes[1]).to.equal(error);
    });

    it('the failure that opened the circuit is the cause of its rejections', async () => {
      const { port, origin } = await serve((_, res) => res.writeHead(503).end());
      guarded.breakerOf(origin, { failureThreshold: 1 });
      await get(port);
      const { error } = await get(port);
      expect(error).to.include({ name: 'CircuitOpenError', breaker: origin, state: 'open' });
      expect(error?.cause).to.include({ name: 'HttpStatusError', status: 503 });
    });

    const inOneHour = new Date(Date.now() + 3_600_000).toUTCString();
    const waits: Record<string, [status: number, headers: http.OutgoingHttpHeaders, seconds: [number, number]]> = {
      'a number of seconds on a 503': [503, { 'retry-after': '120' }, [119, 120]],
      'a number of seconds on a 429': [429, { 'retry-after': '120' }, [119, 120]],
      'milliseconds, which are more precise': [429, { 'retry-after-ms': '1500', 'retry-after': '2' }, [1, 1.5]],
      'a date, at most maxOpenDuration': [503, { 'retry-after': inOneHour }, [299, 300]],
    };
    for (const [form, [status, headers, [min, max]]] of Object.entries(waits)) {
      it(`honorRetryAfter opens the circuit for ${form}`, async () => {
        const { port, origin } = await serve((_, res) => res.writeHead(status, headers).end());
        const breaker = guarded.breakerOf(origin, { honorRetryAfter: true });
        await get(port);
        expect(breaker.state).to.equal('open');
        const { error } = await get(port);
        const { retryAfterMs } = error as unknown as { retryAfterMs: number };
        expect(retryAfterMs / 1_000).to.be.within(min, max);
      });
    }

    it('Retry-After has no effect without honorRetryAfter, nor where it says nothing', async () => {
      for (const [honorRetryAfter, value] of [
        [false, '120'],
        [true, 'soon'],
        [true, new Date(0).toUTCString()],
      ] as const) {
        const { port, origin } = await serve((_, res) => res.writeHead(503, { 'retry-after': value }).end());
        await get({ port });
        await get({ port });
        expect(guarded.breakerOf(origin, { honorRetryAfter }).state).to.equal('closed');
      }
    });
  });
});
