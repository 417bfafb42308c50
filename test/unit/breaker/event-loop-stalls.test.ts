import { AsyncLocalStorage } from 'node:async_hooks';
import { expect } from 'chai';
import { LoopWatch } from '../../../src/breaker/event-loop-stalls.js';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import { counts } from '../../support/guarded.js';
import { FakeClock } from '../../support/clock.js';

const TIMED_OUT = new DOMException('too late', 'TimeoutError');

describe('a timeout while our own event loop was blocked', () => {
  let clock: FakeClock;

  beforeEach(() => {
    clock = new FakeClock();
  });

  function timedBreaker(options?: BreakerOptions): CircuitBreaker {
    const breaker = new CircuitBreaker('target', options, clock);
    breaker.timeCalls();
    return breaker;
  }

  it('is not the failure of the target', () => {
    const breaker = timedBreaker();
    const calls = Array.from({ length: 20 }, () => breaker.acquire());
    clock.advance(500);
    clock.block(1_600);
    for (const call of calls) call.timeout(TIMED_OUT);
    expect(breaker.stats().calls).to.deep.equal(counts({ ignored: 20 }));
    expect(breaker.state).to.equal('closed');
  });

  it('is one where the loop was free for most of the time', () => {
    const breaker = timedBreaker();
    const call = breaker.acquire();
    clock.block(450);
    clock.advance(1_550);
    call.timeout(TIMED_OUT);
    expect(breaker.stats().calls).to.deep.equal(counts({ failure: 1 }));
  });

  it('is one where the loop was blocked before the call, not during it', () => {
    const breaker = timedBreaker();
    breaker.acquire().success();
    clock.block(5_000);
    const call = breaker.acquire();
    clock.advance(2_000);
    call.timeout(TIMED_OUT);
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, failure: 1 }));
  });

  it('gives a probe its slot back', () => {
    const breaker = timedBreaker({ failureThreshold: 1, openDuration: 1_000, halfOpenMaxCalls: 1 });
    breaker.acquire().failure(new Error('down'));
    clock.advance(1_000);
    const probe = breaker.acquire();
    clock.block(2_000);
    probe.timeout(TIMED_OUT);
    expect(breaker.state).to.equal('half_open');
    breaker.acquire().success();
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, failure: 1, ignored: 1 }));
  });

  it('is what isFailure makes of it, where there is one', () => {
    const breaker = timedBreaker({ isFailure: () => true });
    const call = breaker.acquire();
    clock.block(2_000);
    call.timeout(TIMED_OUT);
    expect(breaker.stats().calls).to.deep.equal(counts({ failure: 1 }));
  });

  it('is not mistaken for one after the first, where the loop was busy in small pieces', () => {
    const breaker = timedBreaker({ failureThreshold: 3 });
    for (let calls = 0; calls < 4; calls++) {
      const call = breaker.acquire();
      for (let piece = 0; piece < 40; piece++) {
        clock.block(30);
        clock.advance(20);
      }
      call.timeout(TIMED_OUT);
    }
    expect(breaker.stats().calls).to.deep.equal(counts({ ignored: 1, failure: 3 }));
    expect(breaker.state).to.equal('open');
  });

  it('is noticed after a first timeout even where the whole process was held up', () => {
    const breaker = timedBreaker();
    const first = breaker.acquire();
    clock.advance(1_000);
    first.timeout(TIMED_OUT);
    const second = breaker.acquire();
    clock.advance(100);
    clock.suspend(1_500);
    second.timeout(TIMED_OUT);
    expect(breaker.stats().calls).to.deep.equal(counts({ failure: 1, ignored: 1 }));
  });

  it('counts as every timeout where nobody knows when the call began', () => {
    const breaker = new CircuitBreaker('target', {}, clock);
    const call = breaker.acquire();
    clock.block(2_000);
    call.timeout(TIMED_OUT);
    expect(breaker.stats().calls).to.deep.equal(counts({ failure: 1 }));
  });
});

describe('LoopWatch', () => {
  it('has no timer until time ran out for a call, and none again ten seconds later', () => {
    const clock = new FakeClock();
    const breaker = new CircuitBreaker('target', {}, clock);
    breaker.timeCalls();
    for (let call = 0; call < 100; call++) {
      breaker.acquire().failure(new Error('down'));
      breaker.reset();
      clock.advance(100);
    }
    expect(clock.pendingTimers).to.equal(0);
    breaker.acquire().timeout(TIMED_OUT);
    breaker.acquire().timeout(TIMED_OUT);
    expect(clock.pendingTimers).to.equal(1);
    clock.advance(10_100);
    expect(clock.pendingTimers).to.equal(0);
  });

  it('is asked to look by one call in 20 ms, however many there are', () => {
    const clock = new FakeClock();
    let looks = 0;
    const loop = new (class extends LoopWatch {
      override look(now: number): void {
        looks++;
        super.look(now);
      }
    })(clock);
    const { now, wallNow, random } = clock;
    const breaker = new CircuitBreaker('target', {}, { now, wallNow, random, loop });
    breaker.timeCalls();
    for (let ms = 0; ms < 100; ms++) {
      for (let call = 0; call < 10; call++) breaker.acquire().success();
      clock.advance(1);
    }
    expect(looks).to.equal(5);
  });

  it('keeps no request alive by the timer that it sets', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const loop = new (class extends LoopWatch {
      override look(now: number): void {
        super.look(now);
        seen.push(storage.getStore());
      }
    })();
    storage.run('a request', () => loop.excuses(performance.now(), performance.now()));
    while (seen.length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(seen.slice(0, 3)).to.deep.equal(['a request', undefined, undefined]);
  });

  it('sees the loop of this process blocked, and free', async () => {
    const loop = new LoopWatch();
    const startedAt = performance.now();
    loop.look(startedAt);
    while (performance.now() < startedAt + 300);
    expect(loop.excuses(startedAt, performance.now())).to.equal(true);
    const free = performance.now();
    // As long as it takes to be free for most of the time: another process may have the machine.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(loop.excuses(free - 1, free)).to.equal(false);
  });
});
