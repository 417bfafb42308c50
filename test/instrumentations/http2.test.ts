import { expect } from 'chai';
import { once } from 'node:events';
import net from 'node:net';
import { promisify } from 'node:util';
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { Http2BreakerInstrumentation } from '../../instrumentations/http2/http2-instrumentation.js';
import { GrpcBreakerInstrumentation } from '../../instrumentations/grpc/grpc-instrumentation.js';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { echo } from '../support/grpc.js';
import { counts, TestGuard } from '../support/guarded.js';
import { request, serveHttp2, type Http2Upstream } from '../support/http2.js';
import { rejectionOf } from '../support/rejections.js';
import { CERTIFICATE, findDeadPort, serve, start, stopServers } from '../support/servers.js';

describe('Http2BreakerInstrumentation', () => {
  let guard: TestGuard;
  let instrumentation: Http2BreakerInstrumentation | undefined;
  let server: Http2Upstream;
  let session: ClientHttp2Session;
  const sessions: ClientHttp2Session[] = [];

  beforeEach(async () => {
    server = await serveHttp2();
    attach();
  });
  afterEach(async () => {
    instrumentation?.disable();
    for (const each of sessions.splice(0)) each.destroy();
    await stopServers();
  });

  function attach(options: BreakerOptions = {}): void {
    instrumentation?.disable();
    guard = new TestGuard(options);
    instrumentation = new Http2BreakerInstrumentation({}, guard);
    session = connect(server.origin);
  }

  function connect(...args: Parameters<typeof http2.connect>): ClientHttp2Session {
    const made = http2.connect(...args).on('error', () => {});
    sessions.push(made);
    return made;
  }

  const calls = () => guard.only.stats().calls;

  describe('outcomes', () => {
    it('counts good answers, and judges others by their status', async () => {
      attach({ failureThreshold: 10, minimumCalls: 10 });
      for (const path of ['/', '/status/404', '/status/503', '/status/429']) await request(session, path);
      expect(guard.only.name).to.equal(server.origin);
      expect(calls()).to.deep.equal(counts({ success: 2, failure: 1, ignored: 1 }));
    });

    it('has counted a good answer before its caller hears of the end', async () => {
      const stream = session.request({ ':path': '/' });
      stream.resume();
      await once(stream, 'end');
      expect(calls()).to.deep.equal(counts({ success: 1 }));
    });

    it('opens for Retry-After, as for http', async () => {
      attach({ honorRetryAfter: true });
      await request(session, '/status/503');
      expect(guard.only.state).to.equal('open');
    });

    it('takes a reset for a failure, unless the server has not begun', async () => {
      for (const path of ['/broken', '/refused', '/calm']) await rejectionOf(request(session, path));
      await request(session, '/cancelled');
      expect(calls()).to.deep.equal(counts({ failure: 1, ignored: 3 }));
    });

    it('takes a session that its server ends with an error for a failure, and lets one end in peace', async () => {
      const answers: unknown[] = [];
      for (const path of ['/goaway-internal-error', '/goaway-calm', '/goaway-after-this']) {
        answers.push(await request(connect(server.origin), path).catch(({ code }: { code: string }) => code));
      }
      expect(answers).to.deep.equal(['ERR_HTTP2_SESSION_ERROR', 'ERR_HTTP2_SESSION_ERROR', '200 ok']);
      expect(calls()).to.deep.equal(counts({ failure: 1, ignored: 1, success: 1 }));
    });

    it('takes what a server pushes for no call', async () => {
      const pushed = once(session, 'stream');
      expect(await request(session, '/pushes')).to.equal('200 ok');
      const [stream] = (await pushed) as [ClientHttp2Stream];
      await once(stream.resume(), 'close');
      expect(calls()).to.deep.equal(counts({ success: 1 }));
    });

    it('takes a WebSocket for a call that is over once it is open, and a tunnel for none', async () => {
      await once(session, 'remoteSettings');
      const headers = { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/half' };
      const socket = session.request(headers, { endStream: false });
      await once(socket, 'response');
      expect(calls()).to.deep.equal(counts({ success: 1 }));
      const tunnel = session.request({ ':method': 'CONNECT', ':authority': 'elsewhere:443' });
      tunnel.on('error', () => {}).close();
      // From version 24 on Node closes no stream whose data nobody has read.
      socket
        .on('error', () => {})
        .resume()
        .close();
      await Promise.all([once(socket, 'close'), once(tunnel, 'close')]);
      expect(calls()).to.deep.equal(counts({ success: 1 }));
    });

    it('takes a connection that cannot be made for one failure, however many requests wait for it', async () => {
      const lost = connect(`http://127.0.0.1:${await findDeadPort()}`);
      const waiting = Array.from({ length: 5 }, () => rejectionOf(request(lost)));
      for (const error of await Promise.all(waiting)) expect(error).to.include({ code: 'ERR_HTTP2_STREAM_CANCEL' });
      expect(calls()).to.deep.equal(counts({ failure: 1, ignored: 4 }));
    });

    it('takes it for a failure also where nobody has asked for anything yet', async () => {
      const lost = http2.connect(`http://127.0.0.1:${await findDeadPort()}`);
      await once(lost, 'error');
      expect(calls()).to.deep.equal(counts({ failure: 1 }));
    });

    it('takes a connection that is lost under requests for one failure', async () => {
      const near = new Set<net.Socket>();
      const door = await start(
        net.createServer((socket) => {
          near.add(socket.on('error', () => {}));
          const far = net.connect(server.port, '127.0.0.1').on('error', () => {});
          socket.pipe(far).pipe(socket);
        }),
        'http',
      );
      const lost = connect(door.origin);
      await request(lost);
      const waiting = ['/silence', '/silence', '/half', '/silence', '/silence'].map((path) => request(lost, path));
      while (server.paths.length < 6) await new Promise((resolve) => setTimeout(resolve, 5));
      for (const socket of near) socket.destroy();
      await Promise.allSettled(waiting);
      expect(calls()).to.deep.equal(counts({ success: 1, failure: 1, ignored: 4 }));
    });

    it('is a matter of the caller where it is the caller that leaves', async () => {
      const signal = AbortSignal.timeout(30);
      await rejectionOf(request(session, '/silence', {}, { signal }));
      expect(calls()).to.deep.equal(counts({ failure: 1 }));

      const impatient = session.request({ ':path': '/silence' });
      impatient.close(http2.constants.NGHTTP2_CANCEL);
      await once(impatient, 'close');
      const content = session.request({ ':path': '/half' }).resume();
      await once(content, 'response');
      content.destroy();
      await once(content, 'close');
      expect(calls()).to.deep.equal(counts({ failure: 1, ignored: 1, success: 1 }));
    });

    it('takes a timeout that its caller has set and acts on for a timeout', async () => {
      const stream = session.request({ ':path': '/silence' });
      stream.setTimeout(30);
      stream.on('timeout', () => stream.close(http2.constants.NGHTTP2_CANCEL));
      await once(stream, 'close');
      expect(calls()).to.deep.equal(counts({ failure: 1 }));
    });

    it('hears of it at once where a caller leaves that still waits for the connection', async () => {
      const silence = await start(
        net.createServer((socket) => socket.on('error', () => {})),
        'https',
      );
      const stream = connect(silence.origin).request({ ':path': '/' });
      stream.on('error', () => {}).setTimeout(30, () => stream.close(http2.constants.NGHTTP2_CANCEL));
      await once(stream, 'timeout');
      expect(calls()).to.deep.equal(counts({ failure: 1 }));
      const impatient = sessions.at(-1)!.request({ ':path': '/' });
      impatient.on('error', () => {}).close(http2.constants.NGHTTP2_CANCEL);
      expect(calls()).to.deep.equal(counts({ failure: 1, ignored: 1 }));
    });

    it('takes a session that is ended for its timeout for a timeout of all that it carries', async () => {
      await request(session);
      session.setTimeout(30, () => session.destroy());
      await request(session, '/silence');
      expect(calls()).to.deep.equal(counts({ success: 1, failure: 1 }));
    });

    it('takes a caller that leaves for that also where the session was idle for too long before', async () => {
      await request(session);
      session.setTimeout(20);
      await once(session, 'timeout');
      const stream = session.request({ ':path': '/silence' });
      setImmediate(() => stream.close(http2.constants.NGHTTP2_CANCEL));
      await once(stream, 'close');
      expect(calls()).to.deep.equal(counts({ success: 1, ignored: 1 }));
    });

    it('takes what is no HTTP/2 for a failure', async () => {
      const { origin } = await serve((_, res) => res.end());
      const error = await rejectionOf(request(connect(origin)));
      expect(error).to.have.property('code', 'ERR_HTTP2_ERROR');
      expect(guard.calls(origin)).to.deep.equal(counts({ failure: 1 }));
    });

    it('does not count what cannot be requested', async () => {
      expect(() => session.request({ ':path': '/', connection: 'close' })).to.throw();
      session.destroy();
      // Thrown by Node until version 22, an error of the stream from 24 on.
      expect(await rejectionOf(request(session))).to.include({ code: 'ERR_HTTP2_INVALID_SESSION' });
      expect(calls()).to.deep.equal(counts({ ignored: 1 }));
    });
  });

  describe('rejections', () => {
    beforeEach(() => attach({ failureThreshold: 1, initialOpenDuration: 60_000, openDuration: 60_000 }));

    async function open(): Promise<void> {
      await request(session, '/status/500');
      expect(guard.only.state).to.equal('open');
    }

    it('are errors of the stream, and nothing is sent', async () => {
      await open();
      const before = server.paths.length;
      const stream = session.request({ ':path': '/', ':method': 'POST' });
      expect(stream.session).to.equal(session);
      stream.end('a body');
      const [error] = (await once(stream, 'error')) as [unknown];
      expect(isCircuitOpenError(error)).to.equal(true);
      expect(server.paths).to.have.length(before);
      expect(stream.destroyed).to.equal(true);
      expect(calls()).to.deep.equal(counts({ failure: 1, rejected: 1 }));
      expect(await rejectionOf(request(connect(server.origin)))).to.include({ code: 'ERR_CIRCUIT_OPEN' });
    });

    it('come after the event loop has turned', async () => {
      await open();
      const order: string[] = [];
      const rejected = rejectionOf(request(session)).then(() => order.push('rejected'));
      await Promise.resolve();
      process.nextTick(() => order.push('tick'));
      await rejected;
      expect(order).to.deep.equal(['tick', 'rejected']);
    });

    it('give way to a caller that leaves before', async () => {
      await open();
      const stream = session.request({ ':path': '/' });
      stream.close();
      await once(stream, 'close');
      const left = session.request({ ':path': '/' }, { signal: AbortSignal.abort() });
      const [error] = (await once(left, 'error')) as [Error];
      expect(error).to.include({ name: 'AbortError' });
      expect(left.rstCode).to.equal(http2.constants.NGHTTP2_CANCEL);
    });

    it('leave it to the client to say what is wrong with a request', async () => {
      await open();
      type Arguments = [headers: unknown, options?: unknown];
      const wrong: Arguments[] = [
        [{ connection: 'close' }],
        [{ ':wrong': 'name' }],
        [{ ':method': 'CONNECT', ':authority': 'a:1', ':path': '/', ':protocol': undefined }],
        [{ host: ['a', 'b'] }],
        ['headers'],
        [{}, null],
        [{}, []],
        [{}, { endStream: 1 }],
      ];
      const thrownBy = ([headers, options]: Arguments, by: ClientHttp2Session) => {
        try {
          (by.request as (headers: unknown, options?: unknown) => ClientHttp2Stream)(headers, options).on(
            'error',
            () => {},
          );
        } catch (error) {
          return String(error);
        }
        return undefined;
      };
      const before = calls();
      const guarded = wrong.map((args) => thrownBy(args, session));
      // What Node does not take is no call. One of them it takes, and sends nothing of it.
      expect(calls()).to.deep.equal({ ...before, rejected: before.rejected + guarded.filter((text) => !text).length });
      const waiting = connect(server.origin);
      const waits = wrong.map((args) => thrownBy(args, waiting));
      instrumentation!.disable();
      const bare = wrong.map((args) => thrownBy(args, session));
      expect(bare.filter(Boolean)).to.have.length.of.at.least(7);
      expect(guarded).to.deep.equal(bare);
      expect(waits).to.deep.equal(bare);
      await once(waiting, 'remoteSettings');
      expect(server.paths).to.deep.equal(['/status/500']);
    });

    it('are answers where a rule says respond', async () => {
      attach({ failureThreshold: 1, initialOpenDuration: 60_000, openDuration: 60_000, whenOpen: 'respond' });
      await open();
      expect(await request(session)).to.match(/^503 .*circuit_open/);
      expect(await request(session, '/', { ':method': 'HEAD' })).to.equal('503 ');
      // Nobody reads what has no body.
      const head = session.request({ ':path': '/', ':method': 'HEAD' });
      await once(head, 'close');
      expect(head.endAfterHeaders).to.equal(true);
    });
  });

  describe('targets', () => {
    it('are the origins of sessions, the same as those of http', async () => {
      const secure = await serveHttp2(true);
      const { port } = secure;
      const ca = CERTIFICATE.cert;
      await request(connect(`https://localhost:${port}`, { ca }), '/', { ':authority': 'somebody.else' });
      await request(connect(new URL(`https://LOCALHOST:${port}`), { ca }));
      await request(connect({ protocol: 'https:', hostname: 'localhost', port } as never, { ca }));
      expect(guard.breakers.listNames()).to.deep.equal([`https://localhost:${port}`]);
      expect(calls().success).to.equal(3);
    });

    it('are those of sessions that util.promisify makes, too', async () => {
      // Its types take the listener of `connect` for a callback, which Node does not.
      const connects = promisify(http2.connect) as unknown as (origin: string) => Promise<ClientHttp2Session>;
      const made = await connects(server.origin);
      sessions.push(made);
      expect(made.listenerCount('error')).to.equal(0);
      expect(await request(made)).to.equal('200 ok');
      expect(calls()).to.deep.equal(counts({ success: 1 }));
      const dead = `http://127.0.0.1:${await findDeadPort()}`;
      expect(await rejectionOf(connects(dead))).to.have.property('code', 'ECONNREFUSED');
      expect(guard.breakers.get(dead)!.stats().calls).to.deep.equal(counts({ failure: 1 }));
    });

    it('leaves what undici sends to those who guard it', async () => {
      const undici = new UndiciBreakerInstrumentation({}, guard);
      try {
        const secure = await serveHttp2(true);
        const { Agent, request: get } = await import('undici');
        const dispatcher = new Agent({ allowH2: true, connect: { ca: String(CERTIFICATE.cert) } });
        const { statusCode, body } = await get(`https://localhost:${secure.port}`, { dispatcher });
        expect([statusCode, await body.text()]).to.deep.equal([200, 'ok']);
        expect(secure.paths).to.deep.equal(['/']);
        await dispatcher.close();
        expect(calls()).to.deep.equal(counts({ success: 1 }));
      } finally {
        undici.disable();
      }
    });

    it('leaves what grpc-js sends to those who guard it, and guards other clients of gRPC', async () => {
      const grpc = new GrpcBreakerInstrumentation({}, guard);
      const service = await echo.serve();
      const client = echo.connect(`127.0.0.1:${service.port}`);
      const lost = echo.connect(`127.0.0.1:${await findDeadPort()}`);
      try {
        expect(await echo.ask(client)).to.equal('ok');
        await rejectionOf(echo.ask(lost));
        const names = guard.breakers.listNames();
        expect(names).to.have.length(2);
        for (const name of names) expect(name).to.match(/^grpc:/);
        await request(session, '/', { 'content-type': 'application/grpc', 'user-agent': 'connect-es/2' });
        expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 1 }));
      } finally {
        client.close();
        lost.close();
        service.stop();
        grpc.disable();
      }
    });

    async function gotAndServer() {
      const secure = await serveHttp2(true);
      const { got } = await import('got');
      const client = got.extend({
        http2: true,
        retry: { limit: 0 },
        https: { certificateAuthority: CERTIFICATE.cert },
      });
      const url = `https://localhost:${secure.port}`;
      return { secure, client, url };
    }

    it('guards got over HTTP/2', async () => {
      const { secure, client, url } = await gotAndServer();
      for (let call = 0; call < 2; call++) expect(await client(url).text()).to.equal('ok');
      expect(guard.calls(url).success).to.equal(2);
      guard.breaker(url).forceOpen();
      const error = await rejectionOf(client(url));
      expect(isCircuitOpenError(error)).to.equal(true);
      expect(secure.paths).to.have.length(2);
    });

    it('guards got while it has no session, from the moment at which it asks for one', async () => {
      attach({ failureThreshold: 2, initialOpenDuration: 60_000, openDuration: 60_000 });
      const { secure, client, url } = await gotAndServer();
      // got finds out which protocol a server speaks by a connection of its own, and remembers that.
      await client(url).text();
      await secure.stop();
      const ended = async (options = {}) => ((await rejectionOf(client(url, options))) as { code?: string }).code;
      for (let call = 0; call < 2; call++) {
        expect(await ended()).to.equal('ECONNREFUSED');
        // What comes within 50 ms of the last one is the same failure.
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      expect(await ended()).to.equal('ERR_CIRCUIT_OPEN');
      expect(guard.calls(url)).to.deep.equal(counts({ success: 1, failure: 2, rejected: 1 }));

      const silent = net.createServer(() => {}).listen(secure.port, '127.0.0.1');
      await once(silent, 'listening');
      guard.breaker(url).reset();
      const requests = Array.from({ length: 2 }, () => client(url, { timeout: { request: 30 } }));
      while (guard.calls(url).inFlight > 0 || guard.breaker(url).state !== 'open') {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(await ended()).to.equal('ERR_CIRCUIT_OPEN');
      // got itself waits for the end of a connection that it has given up.
      for (const each of requests) each.catch(() => {});
      silent.close();
    });
  });

  describe('transparency', () => {
    it('detach() leaves the client as it was, and names and lengths stay', async () => {
      await request(session);
      const sessionPrototype = Object.getPrototypeOf(session) as ClientHttp2Session;
      const shape = ({ name, length }: { name: string; length: number }) => ({ name, length });
      const ours = [http2.connect, sessionPrototype.request, promisify(http2.connect)];
      instrumentation!.disable();
      instrumentation = undefined;
      const theirs = [http2.connect, sessionPrototype.request, promisify(http2.connect)];
      expect(ours[0]).not.to.equal(theirs[0]);
      expect(ours[1]).not.to.equal(theirs[1]);
      expect(ours.map(shape)).to.deep.equal(theirs.map(shape));
      expect(Object.hasOwn(sessionPrototype, 'emit')).to.equal(false);
    });

    it('gets not one listener more', async () => {
      const listeners = async () => {
        const stream = session.request({ ':path': '/' });
        const counts = stream.eventNames().map((event) => [event, stream.listenerCount(event)]);
        stream.resume();
        await once(stream, 'close');
        return counts;
      };
      const withUs = await listeners();
      instrumentation!.disable();
      instrumentation = undefined;
      expect(withUs).to.deep.equal(await listeners());
    });

    it('a call whose guard fails goes through', async () => {
      guard.enter = () => {
        throw new Error('ours');
      };
      expect(await request(session)).to.equal('200 ok');
    });
  });
});
