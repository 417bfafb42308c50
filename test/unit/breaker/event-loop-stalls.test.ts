import { AsyncLocalStorage } from 'node:async_hooks';
import { expect } from 'chai';
import { LoopWatch, realSeams } from '../../../src/breaker/event-loop-stalls.js';
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

  it('is not excused where the loop was busy in small pieces', () => {
    const breaker = timedBreaker({ failureThreshold: 3 });
    for (let calls = 0; calls < 3; calls++) {
      const call = breaker.acquire();
      for (let piece = 0; piece < 40; piece++) {
        clock.block(30);
        clock.advance(20);
      }
      call.timeout(TIMED_OUT);
    }
    expect(breaker.stats().calls).to.deep.equal(counts({ failure: 3 }));
    expect(breaker.state).to.equal('open');
  });

  it('is noticed even where the whole process was held up', () => {
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

  it('is one where the loop has listened since, and no good answer is known', () => {
    const breaker = timedBreaker();
    const call = breaker.acquire();
    clock.advance(500);
    clock.block(1_500);
    clock.advance(1);
    call.timeout(TIMED_OUT);
    expect(breaker.stats().calls).to.deep.equal(counts({ failure: 1 }));
  });

  it('is one where the target had time enough, by the slowest good answer', () => {
    const breaker = timedBreaker();
    const good = breaker.acquire();
    clock.advance(200);
    good.success();
    for (const free of [500, 501]) {
      const call = breaker.acquire();
      clock.block(1_000);
      clock.advance(free);
      call.timeout(TIMED_OUT);
    }
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1, failure: 1 }));
  });

  it('opens the circuit of a dead target although a task takes 300 ms of each second', () => {
    const breaker = timedBreaker();
    const good = breaker.acquire();
    clock.advance(50);
    good.success();
    let ignored = 0;
    for (let calls = 0; breaker.state === 'closed' && calls < 20; calls++) {
      const call = breaker.acquire();
      clock.advance(250 + 40 * calls);
      clock.block(300);
      clock.advance(700);
      clock.block(300);
      clock.advance(450 - 40 * (calls % 10));
      call.timeout(TIMED_OUT);
      ignored = breaker.stats().calls.ignored;
    }
    expect(breaker.state).to.equal('open');
    expect(ignored).to.be.at.most(7);
  });

  it('never opens the circuit of a healthy target although the loop stands for 5 s at a time', () => {
    const breaker = timedBreaker();
    for (let round = 0; round < 50; round++) {
      const good = breaker.acquire();
      clock.advance(80);
      good.success();
      clock.advance(1_000);
      const calls = Array.from({ length: 5 }, () => breaker.acquire());
      clock.block(5_000);
      // Timers come first, then what has arrived meanwhile.
      for (const call of calls) call.timeout(TIMED_OUT);
    }
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 50, ignored: 250 }));
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
  it('ticks from the first timed call until 30 s after the last, with one timer', () => {
    const clock = new FakeClock();
    const breaker = new CircuitBreaker('target', {}, clock);
    breaker.acquire().success();
    expect(clock.pendingTimers).to.equal(0);
    breaker.timeCalls();
    for (let call = 0; call < 100; call++) {
      breaker.acquire().success();
      expect(clock.pendingTimers).to.equal(1);
      clock.advance(100);
    }
    clock.advance(28_000);
    expect(clock.pendingTimers).to.equal(1);
    clock.advance(2_000);
    expect(clock.pendingTimers).to.equal(0);
    breaker.acquire().success();
    expect(clock.pendingTimers).to.equal(1);
  });

  it('is told of one call a second, however many there are', () => {
    const clock = new FakeClock();
    let told = 0;
    const loop = new (class extends LoopWatch {
      override callBegins(now: number): void {
        told++;
        super.callBegins(now);
      }
    })(clock);
    const { now, wallNow, random } = clock;
    const breaker = new CircuitBreaker('target', {}, { now, wallNow, random, loop });
    breaker.timeCalls();
    for (let ms = 0; ms < 3_000; ms++) {
      for (let call = 0; call < 10; call++) breaker.acquire().success();
      clock.advance(1);
    }
    expect(told).to.equal(3);
  });

  it('keeps no request alive by the timer that it sets', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const loop = new LoopWatch({
      now: () => performance.now(),
      idle: () => {
        seen.push(storage.getStore());
        return performance.nodeTiming.idleTime;
      },
      later: realSeams.later,
      afterPoll: realSeams.afterPoll,
    });
    storage.run('a request', () => loop.callBegins(performance.now()));
    while (seen.length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(seen.slice(0, 3)).to.deep.equal(['a request', undefined, undefined]);
  });

  it('sees the loop of this process blocked, and what it has not read yet', async () => {
    const loop = new LoopWatch();
    const startedAt = performance.now();
    loop.callBegins(startedAt);
    while (performance.now() < startedAt + 300);
    expect(loop.excuses(startedAt, performance.now(), -1)).to.equal(true);
    // In the same turn, the tick has noticed it, and nothing has been read since.
    const inTimers = await new Promise((resolve) => {
      setTimeout(() => resolve(loop.excuses(startedAt, performance.now(), -1)), 50);
      while (performance.now() < startedAt + 600);
    });
    expect(inTimers).to.equal(true);
    expect(loop.excuses(startedAt, performance.now(), 1)).to.equal(true);
    // As long as it takes to be free: another process may have the machine.
    let excused = true;
    for (let turn = 0; turn < 200 && excused; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      excused = loop.excuses(startedAt, performance.now(), -1);
    }
    expect(excused).to.equal(false);
  });
});
