import { expect } from 'chai';
import { createHook } from 'node:async_hooks';
import { once, type EventEmitter } from 'node:events';
import http = require('node:http');
import { basename, join, sep } from 'node:path';
import type { Attachment } from '../../instrumentations/attachment.js';
import { HttpCall, type Request } from '../../instrumentations/http/http-call.js';
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import { UndiciCalls, watched } from '../../instrumentations/undici/handler.js';
import { RedisCall } from '../../instrumentations/ioredis/redis-call.js';
import { StatementCall } from '../../instrumentations/pg/pg-call.js';
import { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { SETTLED } from '../../src/breaker/permit.js';
import { BreakerMetrics } from '../../src/telemetry/metrics/metrics.js';
import { breakerWithClock, openCircuit, startProbe } from '../support/breakers.js';
import { PRELOAD, ROOT, runNode } from '../support/child.js';
import { TestGuard } from '../support/guarded.js';
import { collectGarbage } from '../support/memory.js';
import { serve, stopServers } from '../support/servers.js';

const CALLS = 1_000;
// V8 optimises meanwhile: what it has not yet optimised allocates more.
const WARM_UP_CALLS = 30_000;
// From here on, V8 no longer changes the size of the objects of a class.
const FIRST_OF_A_CLASS = 8;

/** Bytes that a call allocates: the median of several attempts, since the garbage collector may come in between. */
async function bytesPerCall(call: () => unknown): Promise<number> {
  for (let index = 0; index < WARM_UP_CALLS; index++) await call();
  const attempts: number[] = [];
  for (let attempt = 0; attempt < 9; attempt++) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let index = 0; index < CALLS; index++) await call();
    attempts.push((process.memoryUsage().heapUsed - before) / CALLS);
  }
  return attempts.sort((a, b) => a - b)[4]!;
}

// What costs time on a fast machine costs time on a slow one: these count, since a time limit would fail on a busy machine
// and let everything pass on an idle one. What they allow is above what is reached by about a half: see docs/performance.md.
describe('The work of one call', () => {
  const succeeding = async () => 1;

  function guarded(metrics: boolean): CircuitBreaker {
    const breaker = new CircuitBreaker('target');
    if (metrics) new BreakerMetrics().add(breaker);
    return breaker;
  }

  for (const [what, metrics, limit] of [
    ['without metrics', false, 170],
    ['with all metrics', true, 220],
  ] as const) {
    it(`allocates no more than ${limit} bytes beyond the bare call ${what}`, async () => {
      const breaker = guarded(metrics);
      const bare = await bytesPerCall(succeeding);
      const through = await bytesPerCall(() => breaker.call(succeeding));
      expect(through - bare).to.be.below(limit);
      expect(breaker.stats().calls).to.include({ success: WARM_UP_CALLS + 9 * CALLS, inFlight: 0 });
    });
  }

  it('allocates no more than 200 bytes from a target to a settled permit', async () => {
    const guard = new TestGuard();
    const target = { system: 'http', scheme: 'http', host: 'api', port: 80 } as const;
    const nothing = await bytesPerCall(() => undefined);
    const asked = await bytesPerCall(() => guard.pass(target).success());
    expect(asked - nothing).to.be.below(200);
  });

  const attachment = {} as Attachment;
  const request = { destroyed: false } as Request;
  const options = {};
  const handler = { onConnect: () => undefined, onError: () => undefined };
  const undici = new UndiciCalls(() => undefined);
  const session = {} as ConstructorParameters<typeof StatementCall>[1];
  const redis = {} as ConstructorParameters<typeof RedisCall>[1];
  const command = { name: 'get' } as ConstructorParameters<typeof RedisCall>[2];
  const watchedCommand = () => {
    const call = new RedisCall(attachment, redis, command);
    call.flags = 0;
    call.watch(true);
    // It ends: while a command is under way, other tests of this process cannot detach.
    call.giveBackReject();
    return call;
  };
  let kept: unknown;
  // An object of 24 bytes, 8 for each field, and 16 for the time that one of them is.
  for (const [what, limit, make] of [
    ['an http request', 118, () => new HttpCall(attachment, request)],
    ['an undici request', 158, () => undici.make(attachment, undefined, options, handler)],
    ['a statement of pg', 126, () => new StatementCall(attachment, session, 'SELECT 1')],
    ['a command of ioredis', 142, () => new RedisCall(attachment, redis, command)],
    ['a command of ioredis, and what hears of its end', 238, watchedCommand],
  ] as const) {
    // Before the tests of other files: with its seventh object of a class, V8 decides for good how many fields are in the object
    // itself. Had the garbage collector taken the six before, there would be none, and each object would take 200 bytes more.
    for (let made = 0; made < FIRST_OF_A_CLASS; made++) make();
    it(`allocates no more than ${limit} bytes for the record of ${what}`, async () => {
      const nothing = await bytesPerCall(() => (kept = request));
      const recorded = await bytesPerCall(() => (kept = make()));
      expect(recorded - nothing).to.be.below(limit);
      expect(kept).to.not.equal(request);
    });
  }

  it('rejects a Redis command once, through all that was put around our one function, and hears of it first', () => {
    const heard: string[] = [];
    const rejected = { name: 'get', reject: () => void heard.push('its own') } as unknown as typeof command;
    const call = new RedisCall(attachment, redis, rejected);
    Object.assign(call, { breaker: { heedsSuccess: false }, flags: 0 });
    call.fail = () => {
      if (!call.settled) heard.push('we');
      call.flags = SETTLED;
    };
    call.watch(true);
    for (const wrapper of ['inner', 'outer']) {
      const { reject } = rejected;
      rejected.reject = (error) => {
        heard.push(wrapper);
        reject(error);
      };
      call.watchFirst();
    }
    rejected.reject(new Error('gone'));
    expect(heard).to.deep.equal(['we', 'outer', 'inner', 'its own']);
  });

  it('gives an undici handler one and the same function to end its request with', () => {
    const given: unknown[] = [];
    const own = { ...handler, onConnect: (abort: unknown) => void given.push(abort) };
    const call = undici.make(attachment, undefined, options, own);
    call.flags = 0;
    const handed = watched(own, call);
    handed.onConnect!(() => undefined);
    handed.onConnect!(() => undefined);
    expect(given[0]).to.be.a('function');
    expect(given[1]).to.equal(given[0]);
  });

  it('starts no timer, whatever the state of the circuit', async () => {
    const started: string[] = [];
    const hook = createHook({
      init: (_id, type) => {
        // Not those of mocha, whose clock runs while we wait.
        const byUs = new Error().stack!.includes(`${sep}src${sep}`);
        if (byUs && ['Timeout', 'Immediate'].includes(type)) started.push(type);
      },
    }).enable();
    try {
      const { breaker, clock } = breakerWithClock({ slowCallDuration: 10 });
      new BreakerMetrics().add(breaker);
      await breaker.call(succeeding);
      openCircuit(breaker);
      await breaker.call(succeeding).catch(() => undefined);
      startProbe(breaker, clock).success();
    } finally {
      hook.disable();
    }
    // A rejection is heard of after the event loop has turned: the pacing ends its turn so, and nothing else waits.
    expect(started.filter((type) => type !== 'Immediate')).to.deep.equal([]);
    expect(started.length).to.be.at.most(1);
  });
});

describe('The memory of an idle breaker', () => {
  // Of fewer, the code that V8 makes and throws away meanwhile would weigh as much.
  const count = 5_000;

  /** Bytes that stay of an act, by breaker. */
  function bytesOf(act: () => void): number {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    act();
    collectGarbage();
    return (process.memoryUsage().heapUsed - before) / count;
  }

  it('is no more than 650 bytes, with all its metrics, and reading it adds nothing', () => {
    const metrics = new BreakerMetrics();
    const breakers: CircuitBreaker[] = [];
    const add = () => {
      const breaker = new CircuitBreaker('target');
      metrics.add(breaker);
      breakers.push(breaker);
    };
    const read = () => {
      metrics.numbers();
      for (const breaker of breakers) {
        breaker.stats();
        breaker.evidence();
        breaker.hadCalls(0);
        breaker.reset();
      }
    };
    add();
    read();
    expect(bytesOf(() => Array.from({ length: count }, add))).to.be.below(650);
    // What the first call makes would be 250 and more.
    expect(bytesOf(read)).to.be.below(120);
    expect(breakers).to.have.length(count + 1);
  });
});

describe('One http request', () => {
  after(stopServers);

  it('gets not one listener more: not on itself, nor on its socket or its answer', async () => {
    const { origin } = await serve((_, res) => res.end('ok'));
    const instrumentation = new HttpBreakerInstrumentation({ enabled: false }, new TestGuard());
    const bare = await listenersOfRequest(origin);
    instrumentation.enable();
    try {
      expect(await listenersOfRequest(origin)).to.deep.equal(bare);
    } finally {
      instrumentation.disable();
    }
  });

  async function listenersOfRequest(origin: string) {
    const request = http.get(origin, { agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const seen = [request, response, request.socket!].map(listeners);
    await once(response.resume(), 'end');
    return seen;
  }

  function listeners(emitter: EventEmitter) {
    return emitter.eventNames().map((event) => [event, emitter.listenerCount(event)]);
  }
});

describe('The preload', () => {
  it('loads nothing that a service without a rules file, a port and a guarded client may never need', async () => {
    const source = 'process.stdout.write(JSON.stringify(Object.keys(require.cache)))';
    const { stdout } = await runNode({ nodeArgs: PRELOAD, program: { kind: 'commonjs', source } });
    const loaded = (JSON.parse(stdout) as string[]).map((file) => file.replaceAll('\\', '/'));
    const packages = loaded.map((file) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1]).filter(Boolean);
    expect([...new Set(packages)]).to.deep.equal(['@opentelemetry/api']);
    // Two files: the others are parts of the second.
    expect(loaded.filter((file) => file.includes('/dist/')).map((file) => basename(file))).to.deep.equal([
      'register.js',
      'at-start.js',
    ]);
    const parts = Object.keys(require(join(ROOT, 'dist/src/at-start.js')) as object);
    expect(parts).to.include('./src/breaker/circuit-breaker.js');
    expect(
      parts.filter((file) =>
        /\/(console\/(?!history)|rules\/(?:check|load|semantics|answer-files|file-watch|fleet)\.js$|helpers\/|middleware\/|instrumentations\/(?!http\/|undici\/)\w[\w-]*\/)|\/(cli|index|schema|yaml-source|instrumentation)\.js$/.test(
          file,
        ),
      ),
    ).to.deep.equal([]);
    expect(parts.length).to.be.below(99);
  });
});
