import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import type { Permit } from '../../../src/breaker/permit.js';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import { FakeClock } from '../../support/clock.js';
import { counts } from '../../support/guarded.js';
import { rejectionOf } from '../../support/breakers.js';

describe('A call that its caller gives up', () => {
  let clock: FakeClock;

  beforeEach(() => {
    clock = new FakeClock();
  });

  /** A breaker that times its calls and whose target has answered in this time; by default in 50 ms. */
  function breakerOf(options?: BreakerOptions, answeredIn: number | undefined = 50): CircuitBreaker {
    const breaker = new CircuitBreaker('target', options, clock);
    breaker.timeCalls();
    if (answeredIn >= 0) answer(breaker, answeredIn);
    return breaker;
  }

  const NEVER = -1;

  function answer(breaker: CircuitBreaker, ms: number): void {
    const permit = breaker.acquire();
    clock.advance(ms);
    permit.success();
  }

  function giveUp(breaker: CircuitBreaker, ms: number, cause?: unknown): void {
    const permit = breaker.acquire();
    clock.advance(ms);
    permit.abandon(cause);
  }

  it('is ignored where the caller left early, and a failure where it waited for abandonedAfter', () => {
    const breaker = breakerOf({ abandonedAfter: '3s' });
    giveUp(breaker, 2_999);
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1 }));
    giveUp(breaker, 3_000);
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1, failure: 1 }));
    expect(breaker.stats().consecutiveFailures).to.equal(1);
  });

  it('is ignored for as long as good answers take', () => {
    const breaker = breakerOf({}, 5_000);
    giveUp(breaker, 5_000);
    giveUp(breaker, 5_001);
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1, failure: 1 }));
  });

  it('opens the circuit after failureThreshold calls, and says why', () => {
    const breaker = breakerOf({ failureThreshold: 3 });
    for (let call = 0; call < 3; call++) giveUp(breaker, 2_000);
    const { message, cause } = rejectionOf(breaker);
    expect(message).to.include('3 consecutive failures');
    expect(cause).to.be.an('error').with.property('message', 'given up after 2 s without an answer');
  });

  it('is ignored where timeouts do not count', () => {
    const breaker = breakerOf({ countTimeouts: false });
    giveUp(breaker, 10_000);
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1 }));
  });

  it('is ignored where abandonedAfter is off', () => {
    const breaker = breakerOf({ abandonedAfter: 'off' });
    giveUp(breaker, 100_000);
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1 }));
  });

  it('is ignored where nobody knows when it began', () => {
    const untimed = new CircuitBreaker('target', {}, clock);
    giveUp(untimed, 10_000);
    expect(untimed.stats().calls).to.deep.equal(counts({ ignored: 1 }));
    const breaker = breakerOf();
    const blocking = breaker.tryAcquire(undefined, true) as Permit;
    clock.advance(100_000);
    blocking.abandon();
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1 }));
  });

  it('is what isFailure makes of it, which sees an error with code ERR_ABANDONED and the reason of the caller', () => {
    const asked: unknown[] = [];
    const breaker = breakerOf({
      countTimeouts: false,
      isFailure: (cause) => {
        asked.push(cause);
        return asked.length > 1 ? 'ignored' : true;
      },
    });
    const reason = new Error('enough');
    giveUp(breaker, 500, reason);
    giveUp(breaker, 2_000, reason);
    giveUp(breaker, 2_000);
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 2, failure: 1 }));
    expect(asked).to.have.length(2);
    expect(asked[0]).to.be.an('error').and.to.include({ code: 'ERR_ABANDONED', cause: reason });
    expect(asked[1]).to.be.an('error').and.not.to.have.property('cause');
  });

  it('is excused by our own event loop, as every timeout', () => {
    const breaker = breakerOf();
    const call = breaker.acquire();
    clock.advance(100);
    clock.block(2_000);
    call.abandon();
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1 }));
  });

  it('opens no circuit of a target that may be starting, until somebody has waited for five times abandonedAfter', () => {
    const breaker = breakerOf({ failureThreshold: 3 }, NEVER);
    for (let call = 0; call < 4; call++) giveUp(breaker, 1_200);
    expect(breaker.stats()).to.deep.include({ state: 'closed', consecutiveFailures: 2 });
    expect(breaker.stats().calls).to.deep.equal(counts({ failure: 2, ignored: 2 }));
    giveUp(breaker, 1_200);
    expect(breaker.state).to.equal('open');
  });

  it('lets other failures open it meanwhile', () => {
    const breaker = breakerOf({ failureThreshold: 3 }, NEVER);
    for (let call = 0; call < 3; call++) giveUp(breaker, 1_200);
    breaker.acquire().failure(new Error('down'));
    expect(breaker.state).to.equal('open');
  });

  it('as a probe, opens the circuit again', () => {
    const breaker = breakerOf({ failureThreshold: 1, openDuration: 1_000 });
    giveUp(breaker, 2_000);
    clock.advance(1_000);
    giveUp(breaker, 2_000);
    expect(breaker.stats()).to.deep.include({ state: 'open', transitionCount: 3 });
  });

  it('counts towards the rate only where the target answers others meanwhile', () => {
    const breaker = breakerOf({ failureThreshold: 2, minimumCalls: 10 });
    for (let call = 0; call < 4; call++) {
      const hangs = breaker.acquire();
      clock.advance(1_000);
      answer(breaker, 50);
      clock.advance(1_000);
      hangs.abandon();
      expect(breaker.stats().consecutiveFailures).to.equal(0);
    }
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 5, failure: 4 }));
    const hanging = [breaker.acquire(), breaker.acquire()];
    clock.advance(100);
    answer(breaker, 50);
    clock.advance(2_000);
    for (const call of hanging) call.abandon();
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 6, failure: 6 }));
    expect(breaker.state).to.equal('open');
    expect(rejectionOf(breaker).message).to.include('failure rate 50 % of 12 calls');
  });

  it('as a probe beside one that was answered, gives its slot back and has no say', () => {
    const breaker = breakerOf({ failureThreshold: 1, openDuration: 1_000, halfOpenMaxCalls: 2, successThreshold: 2 });
    giveUp(breaker, 2_000);
    clock.advance(1_000);
    const hangs = breaker.acquire();
    clock.advance(1_000);
    answer(breaker, 50);
    clock.advance(1_000);
    hangs.abandon();
    expect(breaker.state).to.equal('half_open');
    answer(breaker, 50);
    expect(breaker.state).to.equal('closed');
  });

  describe('after slowCallDuration', () => {
    const SLOW = {
      slowCallDuration: '2s',
      slowCallRateThreshold: 0.5,
      minimumCalls: 4,
      abandonedAfter: 'off',
    } as const;

    it('is a slow call', () => {
      const breaker = breakerOf(SLOW);
      answer(breaker, 50);
      giveUp(breaker, 1_999);
      giveUp(breaker, 2_000);
      expect(breaker.stats().slowCallRate).to.be.closeTo(1 / 3, 1e-9);
      giveUp(breaker, 2_000);
      expect(breaker.state).to.equal('open');
      expect(rejectionOf(breaker).message).to.include('slow-call rate 50 % of 4 calls');
    });

    it('is no success to the failure rate', () => {
      const breaker = breakerOf({ ...SLOW, slowCallRateThreshold: 1, failureThreshold: 100, minimumCalls: 6 });
      for (let call = 0; call < 3; call++) giveUp(breaker, 2_000);
      for (let call = 0; call < 2; call++) breaker.acquire().failure(new Error('down'));
      expect(breaker.stats().failureRate).to.be.closeTo(2 / 3, 1e-9);
      expect(breaker.state).to.equal('closed');
    });
  });

  it('is given up through call(), too', async () => {
    const breaker = breakerOf();
    const abort = async (ms: number) => {
      const call = breaker.call(async () => {
        clock.advance(ms);
        throw new DOMException('This operation was aborted', 'AbortError');
      });
      await call.catch(() => {});
    };
    await abort(999);
    await abort(1_000);
    expect(breaker.stats().calls).to.deep.equal(counts({ success: 1, ignored: 1, failure: 1 }));
  });
});
