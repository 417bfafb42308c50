import { COPIES, globalFetch, waysOf } from '../support/undici-ways.js';
import { context } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { suppressTracing } from '@opentelemetry/core';
import { expect } from 'chai';
import net from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { diagnostics } from '../../src/breaker/diagnostics.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { counts, TestGuard } from '../support/guarded.js';
import { serve, stopServers, type Upstream } from '../support/servers.js';

describe('UndiciBreakerInstrumentation: out of the way', () => {
  let guard: TestGuard;
  let instrumentation: UndiciBreakerInstrumentation;
  let server: Upstream;

  beforeEach(async () => {
    server = await serve((_req, res) => res.end('hello'));
  });
  afterEach(async () => {
    instrumentation.disable();
    await stopServers();
  });

  function guardWith(options: BreakerOptions): void {
    guard = new TestGuard(options);
    instrumentation = new UndiciBreakerInstrumentation({}, guard);
  }

  async function allWays(): Promise<number[]> {
    const statuses: number[] = [];
    for (const undici of Object.values(COPIES)) {
      for (const way of Object.values(waysOf(undici))) statuses.push(await way(server.origin));
    }
    return [...statuses, await globalFetch(server.origin)];
  }

  it('lets exporters through an open circuit, uncounted', async () => {
    guardWith({});
    guard.breakers.getOrCreate(server.origin).forceOpen();
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    await context.with(suppressTracing(context.active()), async () => {
      expect(new Set(await allWays())).to.deep.equal(new Set([200]));
      // Those that wait in a queue go on in another context.
      const pool = new COPIES['undici 7']!.Pool(server.origin, { connections: 1 });
      await Promise.all(Array.from({ length: 10 }, () => globalFetch(server.origin, pool)));
    });
    expect(guard.calls(server.origin)).to.deep.equal(counts({}));
  });

  it('leaves a stream in the place of a socket as fast as it was', async () => {
    guardWith({});
    setFlagsFromString('--allow-natives-syntax');
    const isFast = runInThisContext('(object) => %HasFastProperties(object)') as (object: object) => boolean;
    class Wrap extends Duplex {
      constructor(private readonly inner: Duplex) {
        super();
        inner.on('data', (chunk) => this.push(chunk));
      }
      override _read() {}
      override _write(chunk: unknown, encoding: BufferEncoding, done: () => void) {
        this.inner.write(chunk, encoding, done);
      }
      override _destroy(error: Error | null, done: (error: Error | null) => void) {
        this.inner.destroy();
        done(error);
      }
    }
    // V8 has seen by then how many fields they have.
    for (let made = 0; made < 40; made++) new Wrap(new PassThrough());
    let wrap: Wrap | undefined;
    const connect = (_: unknown, done: (error: null, socket: never) => void) => {
      const socket = net.connect(server.port, '127.0.0.1', () => done(null, (wrap = new Wrap(socket)) as never));
    };
    const dispatcher = new COPIES['undici 7']!.Pool(server.origin, { connect: connect as never });
    expect(await globalFetch(server.origin, dispatcher)).to.equal(200);
    expect(isFast(wrap!)).to.equal(true);
    await dispatcher.destroy();
  });

  it('counts nothing in mode off', async () => {
    guardWith({ mode: 'off' });
    await allWays();
    expect(guard.calls(server.origin)).to.deep.equal(counts({}));
  });

  it('rejects nothing in mode observe', async () => {
    guardWith({ mode: 'observe' });
    guard.breakerOf({ system: 'http', scheme: 'http', host: '127.0.0.1', port: server.port }).forceOpen();
    const statuses = await allWays();
    expect(new Set(statuses)).to.deep.equal(new Set([200]));
    expect(guard.calls(server.origin)).to.deep.equal(counts({ success: statuses.length }));
  });

  it('lets a call through where we are at fault', async () => {
    guardWith({});
    const { report } = diagnostics;
    const reports: unknown[] = [];
    diagnostics.report = (_message, error) => reports.push(error);
    try {
      guard.enter = () => {
        throw new Error('our bug');
      };
      instrumentation.disable();
      instrumentation.enable();
      expect(new Set(await allWays())).to.deep.equal(new Set([200]));
      expect(reports).to.not.be.empty;
    } finally {
      diagnostics.report = report;
    }
  });

  it('hands arguments and results on as they are', async () => {
    guardWith({});
    const undici = COPIES['undici 7']!;
    const seen: unknown[][] = [];
    class Handler {
      readonly #own = 'private fields survive';
      onConnect(...args: unknown[]) {
        seen.push([this.#own, args.length]);
      }
      onHeaders(status: number, headers: Buffer[], resume: () => void, statusText: string) {
        seen.push([status, Array.isArray(headers), typeof resume, statusText]);
        return true;
      }
      onData(chunk: Buffer) {
        seen.push([chunk.toString()]);
        return true;
      }
      onComplete(trailers: unknown) {
        seen.push([trailers]);
        this.done();
      }
      onError(error: Error) {
        this.fail(error);
      }
      done!: () => void;
      fail!: (error: Error) => void;
    }
    const handler = new Handler();
    const options = Object.freeze({ path: '/', method: 'GET' as const });
    await new Promise<void>((resolve, reject) => {
      handler.done = resolve;
      handler.fail = reject;
      expect(new undici.Pool(server.origin).dispatch(options, handler)).to.be.true;
    });
    expect(seen).to.deep.equal([['private fields survive', 1], [200, true, 'function', 'OK'], ['hello'], [[]]]);
  });
});
