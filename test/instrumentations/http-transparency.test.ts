import { expect } from 'chai';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { EventEmitter, once } from 'node:events';
import { inspect } from 'node:util';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Agent as LegacyAgent } from 'agent-base6';
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import { closeOf, get, guardHttp, nextTurn, type GuardedHttp } from '../support/http.js';
import { findDeadPort, serve, serveRaw, stopServers } from '../support/servers.js';

const EVENTS = ['socket', 'finish', 'information', 'continue', 'response', 'timeout', 'abort', 'error', 'close'];
const ANSWER_EVENTS = ['end', 'aborted', 'error', 'close'];

/** Everything that a caller can see of a request from its start to its close. */
async function watch(req: http.ClientRequest, withAnswer = true): Promise<unknown[]> {
  const seen: unknown[] = [
    Object.keys(req),
    req.listenerCount('response'),
    req.eventNames(),
    req.rawListeners('error'),
  ];
  for (const name of EVENTS) {
    if (name === 'response' && !withAnswer) continue;
    req.on(name, (argument: unknown) => seen.push([name, describeArgument(argument), req.destroyed, req.reusedSocket]));
  }
  if (withAnswer) {
    req.on('response', (res) => {
      for (const name of ANSWER_EVENTS)
        res.on(name, (argument) => seen.push(['answer', name, describeArgument(argument)]));
      res.on('data', (chunk: Buffer) => seen.push(String(chunk)));
      seen.push([res.statusCode, res.eventNames()]);
    });
  }
  await closeOf(req);
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  seen.push(req.eventNames(), Object.keys(req));
  return seen;
}

function describeArgument(argument: unknown): unknown {
  if (!(argument instanceof Error)) return typeof argument;
  const { name, message, code, cause } = argument as NodeJS.ErrnoException;
  return { name, message, code, cause, keys: Object.keys(argument) };
}

describe('http transparency', () => {
  let guarded: GuardedHttp;
  before(() => (guarded = guardHttp()));
  after(() => guarded.instrumentation.disable());
  afterEach(async () => {
    guarded.registry.clear();
    await stopServers();
  });

  describe('while closed, a caller sees the same as without us:', () => {
    type Make = (port: number, dead: number) => Promise<unknown>;
    const host = '127.0.0.1';
    const scenarios: Record<string, Make> = {
      'a GET': (port) => watch(http.get({ host, port })),
      'a GET through a keep-alive agent, twice': async (port) => {
        const agent = new http.Agent({ keepAlive: true });
        const seen = [await watch(http.get({ host, port, agent })), await watch(http.get({ host, port, agent }))];
        agent.destroy();
        return seen;
      },
      'an answer nobody listens for': (port) => watch(http.get({ host, port }), false),
      'a POST in pieces': (port) => {
        const req = http.request({ host, port, method: 'POST', path: '/echo' });
        req.write('one');
        req.end('two');
        return watch(req);
      },
      'a stream piped into the request': (port) =>
        watch(Readable.from(['a', 'b', 'c']).pipe(http.request({ host, port, method: 'POST', path: '/echo' }))),
      'a refused connection': (_, dead) => watch(http.get({ host, port: dead })),
      'an early hint': (port) => watch(http.get({ host, port, path: '/hints' })),
      'an answer cut off': (port) => watch(http.get({ host, port, path: '/cut' })),
      'a hang-up': (port) => watch(http.get({ host, port, path: '/hang-up' })),
      'a timeout that is acted on': (port) => {
        const req = http.get({ host, port, path: '/silence', timeout: 10 });
        return watch(req.on('timeout', () => req.destroy()));
      },
      'AbortSignal.timeout': (port) =>
        watch(http.get({ host, port, path: '/silence', signal: AbortSignal.timeout(100) })),
      'a signal aborted before': (port) => watch(http.get({ host, port, signal: AbortSignal.abort() })),
      'a destroy at once': (port) => watch(http.get({ host, port }).destroy(new Error('no'))),
      'an abort': (port) => {
        const req = http.get({ host, port });
        req.abort();
        return watch(req);
      },
      'a destroyed answer': (port) => {
        const req = http.get({ host, port, path: '/silence-after-headers' });
        return watch(req.on('response', (res) => res.destroy(new Error('enough'))));
      },
      'an agent that is none of Node’s': (port) => {
        const agent = new LegacyAgent(async () => new http.Agent()) as unknown as http.Agent;
        return watch(http.get({ host, port, agent }));
      },
    };

    for (const [name, make] of Object.entries(scenarios)) {
      it(name, async () => {
        const { port } = await serve((req, res) => {
          if (req.url === '/silence') return;
          if (req.url === '/silence-after-headers') return void res.flushHeaders();
          if (req.url === '/hang-up') return void req.socket.destroy();
          if (req.url === '/hints') res.writeEarlyHints({ link: '</a>' });
          if (req.url === '/cut')
            return void res.writeHead(200, { 'content-length': 9 }).write('cut', () => req.socket.end());
          if (req.url === '/echo') return void text(req).then((body) => res.end(body));
          res.end('ok');
        });
        const dead = await findDeadPort();
        guarded.instrumentation.disable();
        const without = await make(port, dead);
        // A connection kept from the first run would be seen in the second.
        http.globalAgent.destroy();
        guarded.instrumentation.enable();
        const withUs = await make(port, dead);
        expect(guarded.registry.size).to.be.greaterThan(0);
        expect(JSON.parse(JSON.stringify(withUs))).to.deep.equal(JSON.parse(JSON.stringify(without)));
      });
    }

    it('nothing of ours on a request that is printed or copied', async () => {
      const { port } = await serve((_, res) => res.end());
      const req = http.get({ host, port, agent: false });
      const [res] = (await once(req, 'response')) as [http.IncomingMessage];
      res.resume();
      expect(inspect(req, { depth: 1, showHidden: true })).not.to.match(/permit|breaker/i);
      expect(
        Reflect.ownKeys({ ...req })
          .map(String)
          .join(),
      ).not.to.match(/permit|breaker/i);
      await closeOf(req);
    });

    it('events on their way through whatever has replaced the method that requests inherit, before us or after us', async () => {
      const { port } = await serve((_, res) => res.end());
      const { emit } = EventEmitter.prototype;
      const seen: (string | symbol)[] = [];
      EventEmitter.prototype.emit = function (this: EventEmitter, event: string | symbol, ...args: unknown[]) {
        if (this instanceof http.ClientRequest) seen.push(event);
        return Reflect.apply(emit, this, [event, ...args]);
      };
      try {
        await get({ host, port });
      } finally {
        EventEmitter.prototype.emit = emit;
      }
      expect(seen).to.include.members(['socket', 'finish', 'response', 'close']);
    });

    it('the arguments of the agent, untouched and the same objects', async () => {
      const { port } = await serve((_, res) => res.end());
      const agent = new http.Agent();
      const seen: unknown[][] = [];
      const inner = http.Agent.prototype as unknown as { createSocket: (...args: unknown[]) => void };
      Object.assign(agent, {
        createSocket(this: http.Agent, ...args: unknown[]) {
          seen.push(args);
          inner.createSocket.apply(this, args);
        },
      });
      await get({ host, port, agent });
      expect(seen).to.have.length(1);
      expect(seen[0]![1]).to.include({ host, port });
    });
  });

  describe('disable()', () => {
    const owners: Record<string, object> = {
      'http.Agent.prototype': http.Agent.prototype,
      'https.Agent.prototype': https.Agent.prototype,
      'http.ClientRequest.prototype': http.ClientRequest.prototype,
      'http.OutgoingMessage.prototype': http.OutgoingMessage.prototype,
      'http.IncomingMessage.prototype': http.IncomingMessage.prototype,
      http,
      https,
      'agent-base 6': LegacyAgent.prototype,
    };
    const describeOwners = () =>
      Object.entries(owners).map(([name, owner]) => [name, Object.getOwnPropertyDescriptors(owner)] as const);

    it('leaves everything as it was, descriptor by descriptor, with agents of others too', async () => {
      guarded.instrumentation.disable();
      const before = describeOwners();
      guarded.instrumentation.enable();
      const { port } = await serve((_, res) => res.end());
      const agent = new LegacyAgent(async () => net.connect(port, '127.0.0.1')) as unknown as http.Agent;
      await get({ port, agent });
      expect(Object.getOwnPropertyDescriptors(LegacyAgent.prototype)).not.to.deep.equal(
        Object.fromEntries(before)['agent-base 6'],
      );
      guarded.instrumentation.disable();
      const after = describeOwners();
      for (const [index, [name, descriptors]] of before.entries()) {
        const [, now] = after[index]!;
        expect(Reflect.ownKeys(now), name).to.deep.equal(Reflect.ownKeys(descriptors));
        for (const key of Reflect.ownKeys(descriptors)) {
          expect(Reflect.get(now, key), `${name} ${String(key)}`).to.deep.equal(Reflect.get(descriptors, key));
        }
      }
      guarded.instrumentation.enable();
    });

    it('keeps what somebody else has wrapped around ours, and steps aside', async () => {
      const { port, origin } = await serve((_, res) => res.end('ok'));
      type Method = (this: unknown, ...args: unknown[]) => unknown;
      const prototype = http.Agent.prototype as unknown as { addRequest: Method };
      const ours = prototype.addRequest;
      let seen = 0;
      const theirs: Method = function (...args) {
        seen++;
        return Reflect.apply(ours, this, args);
      };
      prototype.addRequest = theirs;
      guarded.openBreakerOf(origin);
      guarded.instrumentation.disable();
      expect(prototype.addRequest).to.equal(theirs);
      expect((await get(port)).body).to.equal('ok');
      expect(seen).to.equal(1);

      guarded.instrumentation.enable();
      expect((await get(port)).error?.code).to.equal('ERR_CIRCUIT_OPEN');
      guarded.breakerOf(origin).reset();
      expect((await get(port)).body).to.equal('ok');
      expect(seen).to.equal(2);
      expect(guarded.breakerOf(origin).stats().calls).to.include({ success: 1, rejected: 1 });

      guarded.instrumentation.disable();
      expect(prototype.addRequest).to.equal(theirs);
      prototype.addRequest = ours;
      guarded.instrumentation.enable();
    });
  });

  it('a second instrumentation finds the client guarded, and counts nothing twice', async () => {
    const second = new HttpBreakerInstrumentation();
    const { port, origin } = await serveRaw((socket) => socket.destroy());
    await get(port);
    expect(guarded.breakerOf(origin).stats().calls).to.include({ failure: 1 });
    second.disable();
    await get(port);
    expect(guarded.breakerOf(origin).stats().calls).to.include({ failure: 2 });
  });
});
