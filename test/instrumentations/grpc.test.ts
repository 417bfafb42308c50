import grpc = require('@grpc/grpc-js');
import { expect } from 'chai';
import { once, type EventEmitter } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { GrpcBreakerInstrumentation } from '../../instrumentations/grpc/grpc-instrumentation.js';
import { isCircuitOpenError } from '../../src/breaker/errors.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { temporaryDirectory, removeTemporaryDirectories } from '../support/files.js';
import { echo, type EchoClient, type EchoServer, type ServiceError } from '../support/grpc.js';
import { counts, TestGuard } from '../support/guarded.js';
import { rejectionOf } from '../support/rejections.js';
import { findDeadPort, start, stopServers } from '../support/servers.js';

const { status } = grpc;

/** Resolves once a call has ended, however. */
const ended = (call: EventEmitter) => new Promise((resolve) => call.once('status', resolve));

describe('GrpcBreakerInstrumentation', () => {
  let guard: TestGuard;
  let instrumentation: GrpcBreakerInstrumentation;
  let server: EchoServer;
  let client: EchoClient;
  const clients: EchoClient[] = [];

  before(async () => {
    server = await echo.serve();
  });
  after(() => server.stop());

  beforeEach(() => attach());
  afterEach(() => {
    instrumentation.disable();
    for (const each of clients.splice(0)) each.close();
    removeTemporaryDirectories();
    return stopServers();
  });

  function attach(options: BreakerOptions = {}): void {
    instrumentation?.disable();
    guard = new TestGuard(options);
    instrumentation = new GrpcBreakerInstrumentation({}, guard);
    client = connect(`127.0.0.1:${server.port}`);
  }

  function connect(target: string, options?: grpc.ClientOptions): EchoClient {
    const made = echo.connect(target, { 'grpc.use_local_subchannel_pool': 1, ...options });
    clients.push(made);
    return made;
  }

  const errorOf = async (promise: Promise<unknown>) => (await rejectionOf(promise)) as ServiceError;
  const calls = () => guard.only.stats().calls;

  describe('outcomes', () => {
    it('counts a good answer of each kind of method as one success', async () => {
      expect(await echo.ask(client)).to.equal('ok');
      expect(await echo.pull(client)).to.equal('first+second');
      expect(await echo.push(client, ['a', 'b'])).to.equal('a+b');
      expect(await echo.chat(client, ['a'])).to.equal('first+second');
      expect(guard.only.name).to.equal(`grpc://127.0.0.1:${server.port}`);
      expect(calls()).to.deep.equal(counts({ success: 4 }));
    });

    const CODES: Readonly<Record<string, readonly number[]>> = {
      failure: [status.UNKNOWN, status.DEADLINE_EXCEEDED, status.INTERNAL, status.UNAVAILABLE, status.DATA_LOSS],
      ignored: [
        status.CANCELLED,
        status.PERMISSION_DENIED,
        status.RESOURCE_EXHAUSTED,
        status.ABORTED,
        status.UNAUTHENTICATED,
      ],
      success: [
        status.INVALID_ARGUMENT,
        status.NOT_FOUND,
        status.ALREADY_EXISTS,
        status.FAILED_PRECONDITION,
        status.OUT_OF_RANGE,
        status.UNIMPLEMENTED,
      ],
    };
    for (const [outcome, codes] of Object.entries(CODES)) {
      it(`takes ${codes.map((code) => status[code]).join(', ')} for ${outcome}`, async () => {
        attach({ failureThreshold: 100, minimumCalls: 100 });
        for (const code of codes) {
          expect(await errorOf(echo.ask(client, `code ${code}`))).to.include({ code });
          expect(await errorOf(echo.pull(client, `code ${code}`))).to.include({ code });
        }
        expect(calls()).to.deep.equal(counts({ [outcome]: 2 * codes.length }));
      });
    }

    it('takes a stream that breaks after its first message for a failure', async () => {
      expect(await errorOf(echo.pull(client, 'first, then code 14'))).to.include({ code: status.UNAVAILABLE });
      expect(calls()).to.deep.equal(counts({ failure: 1 }));
    });

    it('takes a deadline that passes for a timeout, and for none on a stream that was opened', async () => {
      attach({ countTimeouts: false });
      const deadline = () => ({ deadline: Date.now() + 50 });
      for (const call of [echo.ask, echo.pull]) {
        expect(await errorOf(call(client, 'silence', deadline()))).to.include({ code: status.DEADLINE_EXCEEDED });
      }
      expect(calls()).to.deep.equal(counts({ ignored: 2 }));
      expect(await errorOf(echo.pull(client, 'open', deadline()))).to.include({ code: status.DEADLINE_EXCEEDED });
      expect(await errorOf(echo.pull(client, 'endless', deadline()))).to.include({ code: status.DEADLINE_EXCEEDED });
      expect(calls()).to.deep.equal(counts({ ignored: 2, success: 2 }));
    });

    it('ignores calls whose deadline had passed before they were made', async () => {
      await echo.ask(client);
      for (const deadline of [Date.now() - 50, new Date(0), 0]) {
        for (const call of [echo.ask, echo.pull]) {
          expect(await errorOf(call(client, 'silence', { deadline }))).to.include({ code: status.DEADLINE_EXCEEDED });
        }
      }
      expect(calls()).to.deep.equal(counts({ success: 1, ignored: 6 }));
    });

    it('says nothing of the server where its caller gives a call up, unless it has answered', async () => {
      const unary = client.ask('silence', () => {});
      const quiet = client.pull('silence').on('error', () => {});
      const opened = client.pull('endless').on('error', () => {});
      await once(opened, 'data');
      for (const call of [unary, quiet, opened]) {
        const end = ended(call);
        call.cancel();
        await end;
      }
      expect(calls()).to.deep.equal(counts({ ignored: 2, success: 1 }));
    });

    it('ignores calls that were made wrongly or not at all', async () => {
      const wrong = { not: 'a text' } as never;
      expect(await errorOf(echo.ask(client, wrong))).to.include({ code: status.INTERNAL });
      const credentials = grpc.credentials.createFromMetadataGenerator((_, done) => done(new Error('no token')));
      const unary = errorOf(echo.ask(client, 'ok', { credentials }));
      expect((await unary).code).to.be.oneOf([status.UNAUTHENTICATED, status.UNKNOWN]);
      expect(calls()).to.deep.equal(counts({ ignored: 2 }));
    });

    it('takes a connection that cannot be made for a failure, and each attempt once', async () => {
      const dead = connect(`127.0.0.1:${await findDeadPort()}`);
      const errors = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(() => errorOf(echo.ask(dead))));
      for (const error of errors) expect(error.details).to.match(/^No connection established.*ECONNREFUSED/);
      expect(calls().failure).to.be.at.most(2);
      expect(calls().failure + calls().ignored).to.equal(8);
      expect(guard.only.state).to.equal('closed');
    });

    it('takes a connection that is lost under many calls for one failure', async () => {
      const near = new Set<net.Socket>();
      const door = await start(
        net.createServer((socket) => {
          near.add(socket.on('error', () => {}));
          const far = net.connect(server.port, '127.0.0.1').on('error', () => {});
          socket.pipe(far).pipe(socket);
        }),
        'grpc',
      );
      const lost = connect(`127.0.0.1:${door.port}`);
      await echo.ask(lost);
      const before = server.calls.length;
      const waiting = Array.from({ length: 20 }, () => errorOf(echo.ask(lost, 'silence')));
      while (server.calls.length < before + 20) await new Promise((resolve) => setTimeout(resolve, 5));
      for (const socket of near) socket.resetAndDestroy();
      for (const error of await Promise.all(waiting)) expect(error.code).to.equal(status.UNAVAILABLE);
      expect(calls()).to.deep.equal(counts({ success: 1, failure: 1, ignored: 19 }));
    });
  });

  describe('rejections', () => {
    async function openCircuit(options: BreakerOptions = {}): Promise<void> {
      attach({ failureThreshold: 1, initialOpenDuration: 60_000, openDuration: 60_000, ...options });
      await errorOf(echo.ask(client, 'code 14'));
      expect(guard.only.state).to.equal('open');
    }

    const WAYS: Readonly<Record<string, () => Promise<string>>> = {
      unary: () => echo.ask(client),
      'server stream': () => echo.pull(client),
      'client stream': () => echo.push(client, ['a', 'b']),
      'bidirectional stream': () => echo.chat(client, ['a', 'b']),
    };
    for (const [kind, call] of Object.entries(WAYS)) {
      it(`are errors of gRPC with ours as cause, and nothing is sent: ${kind}`, async () => {
        await openCircuit();
        const before = server.calls.length;
        const error = await errorOf(call());
        expect(error).to.include({ code: status.UNAVAILABLE });
        expect(error.message).to.match(/^14 UNAVAILABLE: Circuit "grpc:.*" is open: /);
        expect(error.metadata).to.be.an.instanceOf(grpc.Metadata);
        expect(error.cause).to.include({ name: 'CircuitOpenError', code: 'ERR_CIRCUIT_OPEN' });
        expect((error.cause as Error).cause).to.include({ message: '14 UNAVAILABLE: as told' });
        expect(isCircuitOpenError(error)).to.equal(true);
        expect(server.calls).to.have.length(before);
        expect(calls()).to.deep.equal(counts({ failure: 1, rejected: 1 }));
      });
    }

    it('come after the event loop has turned', async () => {
      await openCircuit();
      const order: string[] = [];
      const rejected = errorOf(echo.ask(client)).then(() => order.push('rejected'));
      await Promise.resolve();
      process.nextTick(() => order.push('tick'));
      await rejected;
      expect(order).to.deep.equal(['tick', 'rejected']);
    });

    it('say FAILED_PRECONDITION, which nobody tries again, where a rule says respond', async () => {
      await openCircuit({ whenOpen: 'respond' });
      const error = await errorOf(echo.ask(client));
      expect(error).to.include({ code: status.FAILED_PRECONDITION });
      expect(isCircuitOpenError(error)).to.equal(true);
    });

    it('reach interceptors as any other status, and leave no timer of a deadline', async () => {
      await openCircuit();
      const heard: number[] = [];
      const interceptor: grpc.Interceptor = (options, next) =>
        new grpc.InterceptingCall(next(options), {
          start: (metadata, _, go) =>
            go(metadata, {
              onReceiveMetadata: (first, forward) => forward(first),
              onReceiveMessage: (message, forward) => forward(message),
              onReceiveStatus: (final, forward) => {
                heard.push(final.code);
                forward(final);
              },
            }),
        });
      const deadline = Date.now() + 3_600_000;
      const timers = () => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length;
      const before = timers();
      await errorOf(echo.ask(client, 'ok', { interceptors: [interceptor], deadline }));
      expect(heard).to.deep.equal([status.UNAVAILABLE]);
      expect(timers()).to.be.at.most(before);
    });

    it('give way to a caller that cancels before', async () => {
      await openCircuit();
      const error = new Promise<ServiceError>((resolve) => {
        client.ask('ok', resolve).cancel();
      });
      expect(await error).to.include({ code: status.CANCELLED });
    });
  });

  describe('recovery', () => {
    it('closes once the channel has its connection, where none could be made before', async () => {
      attach({ failureThreshold: 1, initialOpenDuration: 60_000, openDuration: 60_000 });
      const port = await findDeadPort();
      const away = connect(`127.0.0.1:${port}`, { 'grpc.initial_reconnect_backoff_ms': 100 });
      await errorOf(echo.ask(away));
      expect(guard.only.state).to.equal('open');
      expect(isCircuitOpenError(await errorOf(echo.ask(away)))).to.equal(true);

      const back = await echo.serve(port);
      try {
        while (guard.only.state !== 'closed') await new Promise((resolve) => setTimeout(resolve, 10));
        expect(await echo.ask(away)).to.equal('ok');
      } finally {
        back.stop();
      }
    });

    it('lets a call wait that asked to, since its client would still answer it', async () => {
      attach({ failureThreshold: 1, initialOpenDuration: 60_000, openDuration: 60_000 });
      const port = await findDeadPort();
      const away = connect(`127.0.0.1:${port}`, { 'grpc.initial_reconnect_backoff_ms': 100 });
      await errorOf(echo.ask(away));
      const metadata = new grpc.Metadata({ waitForReady: true });
      const waiting = echo.ask(away, 'ok', metadata);
      const back = await echo.serve(port);
      expect(await waiting).to.equal('ok');
      back.stop();
      expect(calls()).to.deep.equal(counts({ failure: 1, success: 1 }));
    });

    it('closes by streams alone, each a good probe once it has opened', async () => {
      attach({ failureThreshold: 1, successThreshold: 2, initialOpenDuration: 10, openDuration: 10 });
      await errorOf(echo.pull(client, 'code 14'));
      expect(guard.only.state).to.equal('open');
      await new Promise((resolve) => setTimeout(resolve, 30));
      for (let stream = 0; stream < 2; stream++) expect(await echo.pull(client)).to.equal('first+second');
      expect(guard.only.state).to.equal('closed');
    });

    it('never counts a stream as slow', async () => {
      attach({ slowCallDuration: 20, slowCallRateThreshold: 0.1, minimumCalls: 1 });
      const stream = client.pull('endless').on('error', () => {});
      await once(stream, 'data');
      await new Promise((resolve) => setTimeout(resolve, 60));
      expect(await echo.ask(client)).to.equal('ok');
      const end = ended(stream);
      stream.cancel();
      await end;
      expect(guard.only.state).to.equal('closed');
      expect(calls()).to.deep.equal(counts({ success: 2 }));
    });
  });

  describe('targets', () => {
    it('are the deployments that channels name, whatever their form', async () => {
      const path = join(temporaryDirectory(), 'grpc.sock');
      const local = await echo.serve(0, undefined, `unix:${path}`);
      try {
        const { port } = server;
        for (const target of [
          `dns:///127.0.0.1:${port}`,
          `dns:127.0.0.1:${port}`,
          `ipv4:127.0.0.1:${port},127.0.0.1:${port}`,
        ])
          expect(await echo.ask(connect(target))).to.equal('ok');
        expect(guard.breakers.listNames()).to.deep.equal([`grpc://127.0.0.1:${port}`]);

        for (const target of [`unix:${path}`, `unix://${path}`]) expect(await echo.ask(connect(target))).to.equal('ok');
        expect(guard.breakers.listNames()).to.deep.equal([`grpc://127.0.0.1:${port}`, `unix:${path}`]);
        expect(guard.breaker(`unix:${path}`).stats().calls.success).to.equal(2);
      } finally {
        local.stop();
      }
    });

    it('have the port of gRPC where none is named, and brackets around addresses of IPv6', async () => {
      await errorOf(echo.ask(connect('localhost'), 'ok', { deadline: Date.now() + 2_000 }));
      await errorOf(echo.ask(connect('ipv6:[::1]:9'), 'ok', { deadline: Date.now() + 2_000 }));
      expect(guard.breakers.listNames()).to.deep.equal(['grpc://localhost:443', 'grpc://[::1]:9']);
    });
  });

  describe('transparency', () => {
    it('detach() leaves the client as it was, and names and lengths stay', () => {
      const { ResolvingCall } = require('@grpc/grpc-js/build/src/resolving-call') as {
        ResolvingCall: { prototype: { start(...args: unknown[]): void } };
      };
      const { start } = ResolvingCall.prototype;
      instrumentation.disable();
      const original = ResolvingCall.prototype.start;
      expect(original).not.to.equal(start);
      expect({ name: start.name, length: start.length }).to.deep.equal({ name: 'start', length: original.length });
    });

    it('a call whose guard fails goes through', async () => {
      guard.enter = () => {
        throw new Error('ours');
      };
      expect(await echo.ask(client)).to.equal('ok');
      expect(await echo.chat(client, ['a'])).to.equal('first+second');
    });
  });
});
