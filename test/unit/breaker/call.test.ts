import { AsyncLocalStorage } from 'node:async_hooks';
import { expect } from 'chai';
import type { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import { breakerWithClock, openCircuit } from '../../support/breakers.js';
import { captureDiagnostics } from '../../support/diagnostics.js';

function breakerUnderTest(options?: Parameters<typeof breakerWithClock>[0]): CircuitBreaker {
  return breakerWithClock(options).breaker;
}

function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`resolved with ${String(value)}`);
    },
    (error: unknown) => error,
  );
}

function counts(breaker: CircuitBreaker): string {
  const { success, failure, ignored, rejected, inFlight } = breaker.stats().calls;
  return `${success} success, ${failure} failure, ${ignored} ignored, ${rejected} rejected, ${inFlight} in flight`;
}

function named(name: string, fields: object = {}): Error {
  return Object.assign(new Error(name), { name }, fields);
}

describe('CircuitBreaker.call', () => {
  it('resolves with what the function resolves with', async () => {
    const breaker = breakerUnderTest();
    const result = {};
    expect(await breaker.call(async () => result)).to.equal(result);
    expect(counts(breaker)).to.equal('1 success, 0 failure, 0 ignored, 0 rejected, 0 in flight');
  });

  for (const value of [undefined, null, 0, '', 7, 'text', { then: 'not a function' }, () => 'a function']) {
    it(`resolves with what the function returns, were it ${typeof value} ${JSON.stringify(value)}`, async () => {
      const breaker = breakerUnderTest();
      const promise = breaker.call(() => value);
      expect(promise).to.be.instanceOf(Promise);
      expect(counts(breaker)).to.equal('1 success, 0 failure, 0 ignored, 0 rejected, 0 in flight');
      expect(await promise).to.equal(value);
    });
  }

  for (const code of ['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EADDRNOTAVAIL']) {
    it(`ignores an error or a cause that says our own machine could not make the call: ${code}`, async () => {
      const breaker = breakerUnderTest();
      const own = named('Error', { code });
      for (const error of [own, named('TypeError', { cause: own })]) {
        expect(await errorOf(breaker.call(() => Promise.reject(error)))).to.equal(error);
      }
      expect(counts(breaker)).to.equal('0 success, 0 failure, 2 ignored, 0 rejected, 0 in flight');
    });
  }

  it('waits for anything that has a then, and asks it once', async () => {
    const breaker = breakerUnderTest();
    let asked = 0;
    const lazy = {
      then(resolve: (value: string) => void) {
        asked++;
        resolve('rows');
      },
    };
    expect(await breaker.call(() => lazy as PromiseLike<string>)).to.equal('rows');
    expect(asked).to.equal(1);
    expect(counts(breaker)).to.equal('1 success, 0 failure, 0 ignored, 0 rejected, 0 in flight');
  });

  it('counts a failure where a thenable rejects', async () => {
    const breaker = breakerUnderTest();
    const down = new Error('down');
    const thenable = { then: (_: unknown, reject: (error: Error) => void) => reject(down) };
    expect(await errorOf(breaker.call(() => thenable as unknown as PromiseLike<never>))).to.equal(down);
    expect(counts(breaker)).to.equal('0 success, 1 failure, 0 ignored, 0 rejected, 0 in flight');
  });

  it('settles although the then of a result throws when it is read', async () => {
    const breaker = breakerUnderTest();
    const bug = new Error('a getter that throws');
    const result = Object.defineProperty({}, 'then', {
      get() {
        throw bug;
      },
    });
    expect(await errorOf(breaker.call(() => result))).to.equal(bug);
    expect(counts(breaker)).to.equal('0 success, 1 failure, 0 ignored, 0 rejected, 0 in flight');
  });

  for (const [what, isStream] of [
    ['a promise', false],
    ['a promise that is a stream', true],
  ] as const) {
    it(`keeps later calls apart where the constructor of ${what}, which has no then, throws when it is read`, async () => {
      const bug = new Error('a getter that throws');
      const result = Object.defineProperties(Promise.resolve(), {
        then: { value: undefined },
        constructor: {
          get() {
            throw bug;
          },
        },
        ...(isStream && { [Symbol.asyncIterator]: { value: () => undefined } }),
      });
      const breaker = breakerUnderTest();
      expect(await errorOf(breaker.call(() => result))).to.equal(bug);
      const [one, other] = [breakerUnderTest(), breakerUnderTest()];
      const ends: (() => void)[] = [];
      const waiting = () => new Promise<void>((resolve) => ends.push(resolve));
      const calls = [one.call(waiting), other.call(waiting)];
      ends[0]!();
      await calls[0];
      expect(counts(one)).to.equal('1 success, 0 failure, 0 ignored, 0 rejected, 0 in flight');
      expect(counts(other)).to.equal('0 success, 0 failure, 0 ignored, 0 rejected, 1 in flight');
      ends[1]!();
      await calls[1];
      expect(counts(other)).to.equal('1 success, 0 failure, 0 ignored, 0 rejected, 0 in flight');
      expect(counts(breaker)).to.equal('0 success, 1 failure, 0 ignored, 0 rejected, 0 in flight');
    });
  }

  for (const error of [new Error('down'), 'a string', null, undefined, 7]) {
    it(`rejects with the very error of the function, were it ${String(error)}`, async () => {
      const breaker = breakerUnderTest();
      expect(await errorOf(breaker.call(() => Promise.reject(error)))).to.equal(error);
      expect(counts(breaker)).to.equal('0 success, 1 failure, 0 ignored, 0 rejected, 0 in flight');
    });

    it(`rejects where the function throws ${String(error)} instead of returning`, async () => {
      const breaker = breakerUnderTest();
      const promise = breaker.call(() => {
        throw error;
      });
      expect(counts(breaker)).to.equal('0 success, 1 failure, 0 ignored, 0 rejected, 0 in flight');
      expect(await errorOf(promise)).to.equal(error);
    });
  }

  it('counts a call as in flight until it ends', async () => {
    const breaker = breakerUnderTest();
    let end!: () => void;
    const promise = breaker.call(() => new Promise<void>((resolve) => (end = resolve)));
    expect(counts(breaker)).to.equal('0 success, 0 failure, 0 ignored, 0 rejected, 1 in flight');
    end();
    await promise;
    expect(counts(breaker)).to.equal('1 success, 0 failure, 0 ignored, 0 rejected, 0 in flight');
  });

  it('hands its signal on', async () => {
    const { signal } = new AbortController();
    const breaker = breakerUnderTest();
    expect(await breaker.call((given) => given, signal)).to.equal(signal);
    expect(
      await breaker.callWithFallback(
        (given) => given,
        () => undefined,
        signal,
      ),
    ).to.equal(signal);
    expect(await breaker.call((given) => given)).to.equal(undefined);
  });

  it('rejects without calling the function while the circuit is open', async () => {
    const breaker = breakerUnderTest();
    openCircuit(breaker);
    let called = false;
    const error = await errorOf(breaker.call(() => (called = true)));
    expect(error).to.be.instanceOf(CircuitOpenError);
    expect(called).to.equal(false);
    expect(breaker.stats().calls.rejected).to.equal(1);
  });

  for (const [what, fn] of [
    ['a promise', Promise.resolve(1)],
    ['nothing', undefined],
    ['a number', 7],
  ] as const) {
    it(`does not take ${what} for a function, and counts nothing`, async () => {
      const breaker = breakerUnderTest();
      for (const promise of [breaker.call(fn as never), breaker.callWithFallback(fn as never, () => 1)]) {
        expect(await errorOf(promise)).to.be.instanceOf(TypeError);
      }
      expect(counts(breaker)).to.equal('0 success, 0 failure, 0 ignored, 0 rejected, 0 in flight');
    });
  }

  it('lets the event loop turn where rejected calls are made again at once', async () => {
    const breaker = breakerUnderTest();
    openCircuit(breaker);
    let turned = false;
    setImmediate(() => (turned = true));
    let calls = 0;
    while (!turned) {
      if (++calls > 1_000) throw new Error('the event loop stands');
      await breaker.call(() => 1).catch(() => undefined);
    }
    turned = false;
    setImmediate(() => (turned = true));
    for (calls = 0; !turned;) {
      if (++calls > 1_000) throw new Error('the event loop stands');
      await breaker.callWithFallback(
        () => 1,
        () => 'from the fallback',
      );
    }
  });

  it('rejects in the async context of its caller, however late', async () => {
    const breaker = breakerUnderTest();
    openCircuit(breaker);
    const context = new AsyncLocalStorage<number>();
    const seen = Array.from({ length: 100 }, (_, caller) =>
      context.run(caller, () =>
        breaker.callWithFallback(
          () => -1,
          () => context.getStore(),
        ),
      ),
    );
    expect(await Promise.all(seen)).to.deep.equal(Array.from({ length: 100 }, (_, caller) => caller));
  });

  describe('judging errors', () => {
    const controller = new AbortController();
    controller.abort();
    const aborts: [string, unknown][] = [
      ['an AbortError', named('AbortError')],
      ['the reason of an aborted signal', controller.signal.reason],
      ['an error with code ABORT_ERR', named('Error', { code: 'ABORT_ERR' })],
      ['an error caused by an AbortError', new Error('request failed', { cause: named('AbortError') })],
    ];
    for (const [what, error] of aborts) {
      it(`ignores ${what}`, async () => {
        const breaker = breakerUnderTest();
        expect(await errorOf(breaker.call(() => Promise.reject(error)))).to.equal(error);
        expect(counts(breaker)).to.equal('0 success, 0 failure, 1 ignored, 0 rejected, 0 in flight');
      });
    }

    const timeouts: [string, unknown][] = [
      [
        'the reason of AbortSignal.timeout()',
        new DOMException('The operation was aborted due to timeout', 'TimeoutError'),
      ],
      ['an AbortError that a timeout caused', named('AbortError', { cause: named('TimeoutError') })],
      ['a socket that timed out', named('Error', { code: 'ETIMEDOUT' })],
      [
        'a timeout of undici inside of "fetch failed"',
        new TypeError('fetch failed', { cause: named('HeadersTimeoutError', { code: 'UND_ERR_HEADERS_TIMEOUT' }) }),
      ],
    ];
    for (const [what, error] of timeouts) {
      it(`counts ${what} as a failure where countTimeouts is true, and ignores it where it is false`, async () => {
        const counting = breakerUnderTest();
        const ignoring = breakerUnderTest({ countTimeouts: false });
        for (const breaker of [counting, ignoring]) await errorOf(breaker.call(() => Promise.reject(error)));
        expect(counts(counting)).to.equal('0 success, 1 failure, 0 ignored, 0 rejected, 0 in flight');
        expect(counts(ignoring)).to.equal('0 success, 0 failure, 1 ignored, 0 rejected, 0 in flight');
      });
    }

    it('leaves aborts and timeouts to isFailure where it is set', async () => {
      const breaker = breakerUnderTest({ isFailure: () => true, countTimeouts: false });
      for (const error of [named('AbortError'), named('TimeoutError')]) {
        await errorOf(breaker.call(() => Promise.reject(error)));
      }
      expect(counts(breaker)).to.equal('0 success, 2 failure, 0 ignored, 0 rejected, 0 in flight');
    });

    it('gives the caller its error although isFailure calls it a success', async () => {
      const breaker = breakerUnderTest({ isFailure: () => false });
      const notFound = new Error('not found');
      expect(await errorOf(breaker.call(() => Promise.reject(notFound)))).to.equal(notFound);
      expect(counts(breaker)).to.equal('1 success, 0 failure, 0 ignored, 0 rejected, 0 in flight');
    });
  });

  it('leaves a rejection that nobody handles unhandled', async () => {
    const breaker = breakerUnderTest();
    const down = new Error('down');
    const heard: unknown[] = [];
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', (error) => heard.push(error));
    try {
      void breaker.call(() => Promise.reject(down));
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      process.removeAllListeners('unhandledRejection');
      for (const listener of others) process.on('unhandledRejection', listener);
    }
    expect(heard).to.deep.equal([down]);
  });

  it('says nothing to diagnostics in all this', async () => {
    const reports = captureDiagnostics();
    const breaker = breakerUnderTest({ failureThreshold: 1 });
    await errorOf(breaker.call(() => Promise.reject(null)));
    await errorOf(breaker.call(() => 1));
    expect(reports).to.deep.equal([]);
  });
});

describe('CircuitBreaker.call, where rejections are not enforced', () => {
  const ways: readonly [string, () => CircuitBreaker][] = [
    ['in mode observe', () => breakerUnderTest({ mode: 'observe' })],
    ['in a panic', () => Object.assign(breakerUnderTest(), { isPanic: () => true })],
  ];
  for (const [way, made] of ways) {
    it(`makes calls while the circuit is open: ${way}`, async () => {
      const breaker = made();
      openCircuit(breaker);
      const { failure } = breaker.stats().calls;
      expect(await breaker.call(async () => 'answer')).to.equal('answer');
      expect(await breaker.call(() => 'at once')).to.equal('at once');
      expect(await breaker.callWithFallback(async () => 'answer', String)).to.equal('answer');
      const down = new Error('down');
      expect(await errorOf(breaker.call(() => Promise.reject(down)))).to.equal(down);
      expect(counts(breaker)).to.equal(`3 success, ${failure + 1} failure, 0 ignored, 0 rejected, 0 in flight`);
      expect(breaker.tally.unenforcedOpen).to.equal(4);
    });
  }
});

describe('CircuitBreaker.callWithFallback', () => {
  it('does not ask the fallback while calls go through', async () => {
    const breaker = breakerUnderTest();
    const fallback = () => 'from the fallback';
    expect(await breaker.callWithFallback(() => 'from the target', fallback)).to.equal('from the target');
    const down = new Error('down');
    expect(await errorOf(breaker.callWithFallback(() => Promise.reject(down), fallback))).to.equal(down);
    expect(counts(breaker)).to.equal('1 success, 1 failure, 0 ignored, 0 rejected, 0 in flight');
  });

  it('does not ask the fallback for a rejection by another circuit inside of the call', async () => {
    const inner = breakerUnderTest();
    openCircuit(inner);
    const outer = breakerUnderTest();
    const error = await errorOf(
      outer.callWithFallback(
        () => inner.call(() => 1),
        () => 'from the fallback',
      ),
    );
    expect(error).to.be.instanceOf(CircuitOpenError);
  });

  it('gives a rejected call what the fallback returns or resolves with, and hands it the error', async () => {
    const breaker = breakerUnderTest();
    openCircuit(breaker);
    const errors: CircuitOpenError[] = [];
    const call = (fallback: (error: CircuitOpenError) => unknown) => breaker.callWithFallback(() => 'never', fallback);
    expect(await call((error) => errors.push(error))).to.equal(1);
    expect(await call(async () => 'later')).to.equal('later');
    expect(errors[0]).to.be.instanceOf(CircuitOpenError);
    expect(breaker.stats().calls.rejected).to.equal(2);
  });

  it('rejects with the error of the fallback', async () => {
    const breaker = breakerUnderTest();
    openCircuit(breaker);
    const bug = new Error('no fallback either');
    const thrown = breaker.callWithFallback(
      () => 1,
      () => {
        throw bug;
      },
    );
    expect(await errorOf(thrown)).to.equal(bug);
    expect(
      await errorOf(
        breaker.callWithFallback(
          () => 1,
          () => Promise.reject(bug),
        ),
      ),
    ).to.equal(bug);
  });
});
