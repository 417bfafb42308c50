import { expect } from 'chai';
import { CircuitBreaker, type CircuitBreaker as Breaker } from '../../../src/breaker/circuit-breaker.js';
import { SHARES_ERRORS, UNGUARDED, type Permit } from '../../../src/breaker/permit.js';
import { resolveConfig } from '../../../src/breaker/config.js';
import { diagnostics } from '../../../src/breaker/diagnostics.js';
import { CircuitOpenError, ConfigError } from '../../../src/breaker/errors.js';
import {
  breakerWithClock,
  fail,
  ignore,
  openCircuit,
  recordTransitions,
  rejectionOf,
  start,
  startProbe,
  succeed,
  waitUntilProbe,
} from '../../support/breakers.js';
import type { FakeClock } from '../../support/clock.js';
import { captureDiagnostics } from '../../support/diagnostics.js';

describe('CircuitBreaker', () => {
  describe('to begin with', () => {
    it('is closed and has counted nothing', () => {
      const { breaker, clock } = breakerWithClock();
      expect(breaker.stats()).to.deep.equal({
        name: 'target',
        state: 'closed',
        consecutiveFailures: 0,
        consecutiveSuccesses: 0,
        transitionCount: 0,
        lastStateChange: new Date(clock.wallNow()),
        calls: { success: 0, failure: 0, ignored: 0, rejected: 0, inFlight: 0, oldestMs: null },
        failureRate: 0,
        slowCallRate: 0,
        openUntil: null,
      });
    });

    for (const name of ['', undefined, null, 7, { failureThreshold: 3 }]) {
      it(`does not take ${JSON.stringify(name) ?? 'undefined'} for a name`, () => {
        expect(() => new CircuitBreaker(name as string)).to.throw(
          ConfigError,
          /^CircuitBreaker: name: .*Use a string that is not empty\.$/,
        );
      });
    }

    it('goes by real time where it is given no clock', () => {
      const before = Date.now();
      const breaker = new CircuitBreaker('target', { openDuration: '1h', failureThreshold: 1 });
      openCircuit(breaker);
      const { openUntil, lastStateChange } = breaker.stats();
      expect(lastStateChange.getTime()).to.be.within(before, Date.now());
      expect(openUntil!.getTime() - lastStateChange.getTime()).to.equal(3_600_000);
    });
  });

  describe('opens', () => {
    it('after failureThreshold failures in a row', () => {
      const { breaker } = breakerWithClock({ failureThreshold: 3 });
      fail(breaker, 2);
      succeed(breaker);
      fail(breaker, 2);
      expect(breaker.state).to.equal('closed');
      fail(breaker);
      expect(breaker.state).to.equal('open');
      expect(rejectionOf(breaker).message).to.contain('3 consecutive failures (threshold 3)');
    });

    it('at failureRateThreshold, once minimumCalls were made within the window', () => {
      const { breaker } = breakerWithClock({ failureThreshold: 100, minimumCalls: 10, failureRateThreshold: 0.4 });
      fail(breaker, 4);
      succeed(breaker, 5);
      expect(breaker.state).to.equal('closed');
      succeed(breaker);
      expect(breaker.state).to.equal('open');
      expect(rejectionOf(breaker).message).to.contain('failure rate 40 % of 10 calls in 30 s (threshold 40 %)');
    });

    it('not below failureRateThreshold', () => {
      const { breaker } = breakerWithClock({ failureThreshold: 100, minimumCalls: 10, failureRateThreshold: 0.4 });
      succeed(breaker, 100);
      fail(breaker, 66);
      expect(breaker.state).to.equal('closed');
      fail(breaker);
      expect(breaker.state).to.equal('open');
    });

    it('at slowCallRateThreshold, whatever the calls bring', () => {
      const { breaker, clock } = breakerWithClock({
        slowCallDuration: 100,
        slowCallRateThreshold: 0.5,
        minimumCalls: 4,
      });
      const [slow, slower] = start(breaker, 2);
      succeed(breaker, 2);
      clock.advance(99);
      slow!.success();
      expect(breaker.stats().slowCallRate).to.equal(0);
      clock.advance(1);
      slower!.success();
      expect(breaker.stats().slowCallRate).to.equal(0.25);
      const last = breaker.acquire();
      clock.advance(100);
      last.success();
      expect(breaker.state).to.equal('closed');
      const another = breaker.acquire();
      clock.advance(250);
      another.success();
      expect(breaker.state).to.equal('open');
      expect(rejectionOf(breaker).message).to.contain(
        'slow-call rate 50 % of 6 calls in 30 s (threshold 50 %), slow from 100 ms',
      );
    });

    it('before slow calls end, where the next call finds enough of them under way', () => {
      const { breaker, clock } = breakerWithClock({ slowCallDuration: '1s', minimumCalls: 4 });
      start(breaker, 4);
      clock.advance(999);
      const { slowCallRate } = breaker.stats();
      clock.advance(1);
      expect([slowCallRate, breaker.stats().slowCallRate, breaker.state]).to.deep.equal([0, 1, 'closed']);
      expect(rejectionOf(breaker).message).to.contain('slow-call rate 100 % of 4 calls');
    });

    it('for slowness without a failure to name as its cause', () => {
      const { breaker, clock } = breakerWithClock({ slowCallDuration: '1s', minimumCalls: 4 });
      fail(breaker);
      start(breaker, 4);
      clock.advance(1_000);
      expect(rejectionOf(breaker).cause).to.equal(undefined);
    });

    it('not for calls that are slow by design', () => {
      const { breaker, clock } = breakerWithClock({ slowCallDuration: 100, minimumCalls: 2 });
      const calls = [1, 2, 3].map(() => breaker.tryAcquire(undefined, true));
      clock.advance(10_000);
      for (const call of calls) if (!(call instanceof CircuitOpenError)) call.success();
      expect(breaker.stats()).to.deep.include({ state: 'closed', slowCallRate: 0 });
    });

    it('by hand until it is reset', () => {
      const { breaker, clock } = breakerWithClock();
      breaker.forceOpen();
      clock.advance(1e12);
      const { state, retryAfterMs, cause } = rejectionOf(breaker);
      expect({ state, retryAfterMs, cause }).to.deep.equal({ state: 'open', retryAfterMs: 60_000, cause: undefined });
      expect(breaker.stats().openUntil).to.equal(null);
      breaker.reset();
      succeed(breaker);
      expect(breaker.state).to.equal('closed');
    });

    it('by hand although it was open already, and then names no failure as its cause', () => {
      const { breaker } = breakerWithClock();
      openCircuit(breaker);
      breaker.forceOpen();
      expect(rejectionOf(breaker).cause).to.equal(undefined);
      expect(breaker.stats()).to.include({ transitionCount: 1, openUntil: null });
    });

    it('by hand although it was open already, and tells of it once', () => {
      const { breaker } = breakerWithClock();
      openCircuit(breaker);
      const changes = recordTransitions(breaker);
      breaker.forceOpen();
      breaker.forceOpen();
      expect(changes.map(({ from, to, reason }) => `${from} to ${to}: ${reason}`)).to.deep.equal([
        'open to open: opened by hand',
      ]);
    });
  });

  describe('while open', () => {
    it('rejects until openDuration is over and says how long that is', () => {
      const { breaker, clock } = breakerWithClock({ openDuration: '10s' });
      openCircuit(breaker);
      clock.advance(9_999.5);
      expect(rejectionOf(breaker).retryAfterMs).to.equal(1);
      clock.advance(0.5);
      breaker.acquire();
      expect(breaker.state).to.equal('half_open');
    });

    it('does not turn half-open because someone looks', () => {
      const { breaker, clock } = breakerWithClock();
      openCircuit(breaker);
      clock.advance(1e9);
      breaker.stats();
      expect(breaker.state).to.equal('open');
    });

    it('stays open for longer after each failed probe, and for openDuration after it was closed', () => {
      const { breaker, clock } = breakerWithClock({
        openDuration: 1_000,
        openBackoff: 2,
        maxOpenDuration: 5_000,
        successThreshold: 1,
      });
      const waits: number[] = [];
      openCircuit(breaker);
      for (let opening = 0; opening < 5; opening++) {
        waits.push(breaker.stats().openUntil!.getTime() - clock.wallNow());
        waitUntilProbe(breaker, clock);
        fail(breaker);
      }
      waitUntilProbe(breaker, clock);
      succeed(breaker);
      openCircuit(breaker);
      waits.push(breaker.stats().openUntil!.getTime() - clock.wallNow());
      expect(waits).to.deep.equal([1_000, 2_000, 4_000, 5_000, 5_000, 1_000]);
    });

    it('backs off without end and still comes back', () => {
      const { breaker, clock } = breakerWithClock({ openBackoff: 10, openJitter: 1 });
      clock.chance = 0;
      openCircuit(breaker);
      for (let opening = 0; opening < 400; opening++) {
        clock.advance(300_000);
        fail(breaker);
      }
      clock.advance(300_000);
      breaker.acquire();
      expect(breaker.state).to.equal('half_open');
    });

    for (const [chance, wait] of [
      [0, 750],
      [0.5, 1_000],
      [0.999_999, 1_250],
    ] as const) {
      it(`waits ${wait} ms of 1,000 with a jitter of 0.25 where chance says ${chance}`, () => {
        const { breaker, clock } = breakerWithClock({ openDuration: 1_000, openJitter: 0.25 });
        clock.chance = chance;
        openCircuit(breaker);
        expect(breaker.stats().openUntil!.getTime() - clock.wallNow()).to.be.closeTo(wait, 1);
      });
    }

    it('spreads a wait that has come to maxOpenDuration downwards only', () => {
      const { breaker, clock } = breakerWithClock({
        openDuration: 1_000,
        maxOpenDuration: 1_000,
        openJitter: 0.5,
        openBackoff: 8,
      });
      const waitFor = (chance: number) => {
        clock.chance = chance;
        fail(breaker, breaker.state === 'closed' ? 5 : 1);
        const wait = breaker.stats().openUntil!.getTime() - clock.wallNow();
        waitUntilProbe(breaker, clock);
        return wait;
      };
      expect([0.9, 0, 0.25].map(waitFor)).to.deep.equal([950, 500, 625]);
    });
  });

  describe('asked by its target to wait', () => {
    it('opens at once for as long', () => {
      const { breaker, clock } = breakerWithClock();
      breaker.acquire().failure(new Error('429'), 7_000);
      expect(breaker.stats().openUntil!.getTime() - clock.wallNow()).to.equal(7_000);
      expect(rejectionOf(breaker)).to.include({ retryAfterMs: 7_000 });
      expect(rejectionOf(breaker).message).to.contain('the target asked to wait 7 s');
    });

    it('waits no longer than maxOpenDuration', () => {
      const { breaker, clock } = breakerWithClock({ maxOpenDuration: '2m' });
      breaker.acquire().failure(new Error('429'), Infinity);
      expect(breaker.stats().openUntil!.getTime() - clock.wallNow()).to.equal(120_000);
    });

    it('reopens for as long where a probe brings that word', () => {
      const { breaker, clock } = breakerWithClock();
      startProbe(breaker, clock).failure(new Error('429'), 7_000);
      expect(breaker.state).to.equal('open');
      expect(breaker.stats().openUntil!.getTime() - clock.wallNow()).to.equal(7_000);
    });

    for (const nothing of [0, -5, NaN]) {
      it(`takes ${nothing} ms for an ordinary failure`, () => {
        const { breaker } = breakerWithClock();
        breaker.acquire().failure(new Error('503'), nothing);
        expect(breaker.stats()).to.deep.include({ state: 'closed', consecutiveFailures: 1 });
      });
    }
  });

  describe('while half-open', () => {
    it('lets halfOpenMaxCalls probes through at once', () => {
      const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 2 });
      startProbe(breaker, clock);
      const second = breaker.acquire();
      expect(rejectionOf(breaker)).to.include({
        state: 'half_open',
        retryAfterMs: 0,
        message: 'Circuit "target" is half-open and all its probes are under way',
      });
      expect(Object.is(rejectionOf(breaker).retryAfterMs, 0)).to.equal(true);
      second.ignore();
      breaker.acquire();
      rejectionOf(breaker);
    });

    it('closes after successThreshold successes in a row and forgets the window', () => {
      const { breaker, clock } = breakerWithClock({ successThreshold: 3 });
      openCircuit(breaker);
      waitUntilProbe(breaker, clock);
      succeed(breaker, 2);
      expect(breaker.state).to.equal('half_open');
      succeed(breaker);
      expect(breaker.stats()).to.include({
        state: 'closed',
        failureRate: 0,
        consecutiveFailures: 0,
        transitionCount: 3,
      });
    });

    it('reopens on one failure, with that failure as the cause of rejections', () => {
      const { breaker, clock } = breakerWithClock();
      const stillDown = new Error('still down');
      startProbe(breaker, clock).failure(stillDown);
      expect(breaker.state).to.equal('open');
      expect(rejectionOf(breaker).cause).to.deep.include({ name: 'Error', message: 'still down' });
      expect(rejectionOf(breaker).message).to.contain('a probe failed');
    });

    it('takes the slot of a probe that was silent for halfOpenTimeout, and still hears what it brings later', () => {
      const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 1, halfOpenTimeout: 500, successThreshold: 1 });
      const silent = startProbe(breaker, clock);
      clock.advance(499);
      rejectionOf(breaker);
      clock.advance(1);
      const next = breaker.acquire();
      rejectionOf(breaker);
      silent.success();
      expect(breaker.state).to.equal('closed');
      next.success();
      expect(breaker.stats().calls).to.deep.include({ success: 2, failure: 5, inFlight: 0 });
    });

    it('reopens where a silent probe fails after it gave its slot back', () => {
      const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 1, halfOpenTimeout: 500 });
      const silent = startProbe(breaker, clock);
      clock.advance(500);
      breaker.acquire();
      silent.failure(new Error('late, and still down'));
      expect(breaker.state).to.equal('open');
    });

    it('still hears a slow probe whose slot nobody needed', () => {
      const { breaker, clock } = breakerWithClock({ successThreshold: 1, halfOpenTimeout: 500 });
      const slow = startProbe(breaker, clock);
      clock.advance(10_000);
      breaker.acquire();
      slow.success();
      expect(breaker.state).to.equal('closed');
    });

    it('waits as long for a probe as openDuration, and 30 s at least', () => {
      const timeouts = ['1s', '2m'].map((openDuration) => resolveConfig({ openDuration }).halfOpenTimeout);
      expect(timeouts).to.deep.equal([30_000, 120_000]);
    });
  });

  describe('while the target has been away for a short time', () => {
    const OPTIONS = {
      initialOpenDuration: 200,
      openDuration: '30s',
      failureThreshold: 1,
      successThreshold: 1,
    } as const;

    /** How long each opening lasts while every probe fails, in milliseconds, until so much time has passed. */
    function openings(breaker: Breaker, clock: FakeClock, until: number): number[] {
      const end = clock.now() + until;
      const waits: number[] = [];
      while (clock.now() < end) {
        fail(breaker);
        waits.push(breaker.stats().openUntil!.getTime() - clock.wallNow());
        waitUntilProbe(breaker, clock);
      }
      return waits;
    }

    it('opens for a quarter of the time for which it has not been closed, from initialOpenDuration up to openDuration', () => {
      const { breaker, clock } = breakerWithClock(OPTIONS);
      const waits = openings(breaker, clock, 300_000);
      expect(waits.slice(0, 7)).to.deep.equal([200, 200, 200, 200, 200, 250, 313]);
      expect(waits.slice(-3)).to.deep.equal([30_000, 30_000, 30_000]);
    });

    it('probes a dead target some 26 times in its first minute, and 2 to 4 times a minute from the third on', () => {
      const { breaker, clock } = breakerWithClock(OPTIONS);
      const counts = [1, 2, 3, 4].map(() => openings(breaker, clock, 60_000).length);
      expect(counts[0]).to.be.within(22, 27);
      for (const count of counts.slice(2)) expect(count).to.be.within(2, 4);
    });

    it('lets openBackoff multiply only openings that last for openDuration', () => {
      const { breaker, clock } = breakerWithClock({
        ...OPTIONS,
        openDuration: 400,
        openBackoff: 2,
        maxOpenDuration: 1_000,
      });
      expect(openings(breaker, clock, 6_000).filter((ms) => ms >= 400)).to.deep.equal([400, 800, 1_000, 1_000, 1_000]);
    });

    it('goes on with that time where it opens again within the window, without the time for which it was closed', () => {
      const { breaker, clock } = breakerWithClock({ ...OPTIONS, window: '10s' });
      openings(breaker, clock, 8_000);
      const before = breaker.stats().lastStateChange;
      succeed(breaker);
      clock.advance(9_000);
      const [wait] = openings(breaker, clock, 1);
      expect(wait).to.be.within(2_000, 3_000);
      succeed(breaker);
      clock.advance(10_000);
      expect(openings(breaker, clock, 1)).to.deep.equal([200]);
      expect(before).to.be.below(breaker.stats().lastStateChange);
    });

    it('begins anew after a reset by hand', () => {
      const { breaker, clock } = breakerWithClock(OPTIONS);
      openings(breaker, clock, 60_000);
      breaker.reset();
      expect(openings(breaker, clock, 1)).to.deep.equal([200]);
    });
  });

  describe('asked several times to wait', () => {
    const wait = ({ breaker, clock }: ReturnType<typeof breakerWithClock>) =>
      breaker.stats().openUntil!.getTime() - clock.wallNow();

    it('waits for the longest, also of calls that began before it opened', () => {
      const scene = breakerWithClock({ openDuration: '10s', maxOpenDuration: '60s' });
      const [first, second, third, fourth] = start(scene.breaker, 4);
      first!.failure(new Error('429'), 2_000);
      second!.failure(new Error('429'), 20_000);
      third!.failure(new Error('429'), 1_000);
      expect(wait(scene)).to.equal(20_000);
      fourth!.failure(new Error('429'), 500_000);
      expect(wait(scene)).to.equal(60_000);
    });

    it('is asked that by no step of the backoff', () => {
      const scene = breakerWithClock({ openDuration: 1_000, openBackoff: 2, failureThreshold: 1 });
      for (let opening = 0; opening < 3; opening++) {
        scene.breaker.acquire().failure(new Error('429'), 500);
        waitUntilProbe(scene.breaker, scene.clock);
      }
      fail(scene.breaker);
      expect(wait(scene)).to.equal(1_000);
    });

    it('adds jitter to that time, and takes none of it away', () => {
      const scene = breakerWithClock({ openJitter: 0.5, maxOpenDuration: '60s' });
      scene.clock.chance = 0.5;
      scene.breaker.acquire().failure(new Error('429'), 600_000);
      expect(wait(scene)).to.equal(75_000);
    });
  });

  describe('answered', () => {
    function probes(count: number, options?: Parameters<typeof breakerWithClock>[0]) {
      const scene = breakerWithClock({ halfOpenMaxCalls: 1, ...options });
      openCircuit(scene.breaker);
      waitUntilProbe(scene.breaker, scene.clock);
      const calls = Array.from({ length: count }, () => {
        const probe = scene.breaker.acquire();
        probe.answered();
        return probe;
      });
      return { ...scene, calls };
    }

    it('well by its probes, has room for others at once', () => {
      const { breaker } = probes(5);
      expect(breaker.stats()).to.deep.include({ state: 'half_open', consecutiveSuccesses: 0 });
    });

    it('well by its probes, closes with the first call after a second although none of them ends', () => {
      const { breaker, clock } = probes(2);
      clock.advance(999);
      breaker.acquire().answered();
      expect(breaker.state).to.equal('half_open');
      clock.advance(1);
      breaker.acquire();
      expect(breaker.state).to.equal('closed');
    });

    it('well by a probe that then breaks, reopens: its outcome is told at its end', () => {
      const { breaker, calls } = probes(1);
      calls[0]!.failure(new Error('the body broke off'));
      expect(breaker.state).to.equal('open');
    });

    it('well by probes that break after they have closed it, counts these as failures in a row', () => {
      const { breaker, clock, calls } = probes(2, { failureThreshold: 2 });
      clock.advance(1_000);
      breaker.acquire();
      expect(breaker.state).to.equal('closed');
      for (const call of calls) call.failure(new Error('the body broke off'));
      expect(breaker.state).to.equal('open');
    });

    it('well by a probe that ends well later, counts it once', () => {
      const { breaker, clock, calls } = probes(1, { successThreshold: 3 });
      clock.advance(1_000);
      const next = breaker.acquire();
      calls[0]!.success();
      expect(breaker.stats()).to.deep.include({ state: 'half_open', consecutiveSuccesses: 1 });
      next.ignore();
      expect(breaker.stats().calls).to.deep.include({ success: 1, inFlight: 0 });
    });

    it('while closed, changes nothing', () => {
      const { breaker } = breakerWithClock();
      const call = breaker.acquire();
      call.answered();
      call.answered();
      expect(breaker.stats()).to.deep.include({ consecutiveSuccesses: 0, state: 'closed' });
      call.failure(new Error('the body broke off'));
      call.answered();
      expect(breaker.stats().consecutiveFailures).to.equal(1);
    });
  });

  describe('called once a second by calls that take long', () => {
    for (const [preset, seconds] of [
      ['default', 1],
      ['httpApi', 35],
      ['database', 31],
      ['llmService', 130],
      ['llmService', 150],
    ] as const) {
      it(`closes within a few rounds of probes of ${seconds} s with ${preset}, and stays closed for the hour`, () => {
        const { breaker, clock } = breakerWithClock({ preset });
        openCircuit(breaker);
        const underWay: [endsAt: number, permit: Permit][] = [];
        let closedAfter: number | undefined;
        let rejectedAfterwards = 0;
        for (let second = 0; second < 3_600; second++) {
          clock.advance(1_000);
          while (underWay.length > 0 && underWay[0]![0] <= clock.now()) underWay.shift()![1].success();
          const admission = breaker.tryAcquire();
          if (!(admission instanceof CircuitOpenError)) underWay.push([clock.now() + seconds * 1_000, admission]);
          else if (closedAfter !== undefined) rejectedAfterwards++;
          if (breaker.state === 'closed') closedAfter ??= second;
        }
        const { openDuration, halfOpenTimeout } = breaker.config;
        expect(closedAfter).to.be.below((openDuration + halfOpenTimeout + 2 * seconds * 1_000) / 1_000 + 5);
        expect(rejectedAfterwards).to.equal(0);
      });
    }
  });

  describe('open since calls were slow', () => {
    function openBySlowness() {
      const scene = breakerWithClock({
        slowCallDuration: 100,
        minimumCalls: 2,
        successThreshold: 1,
        openDuration: '1s',
      });
      const calls = start(scene.breaker, 2);
      scene.clock.advance(100);
      for (const call of calls) call.success();
      expect(scene.breaker.state).to.equal('open');
      waitUntilProbe(scene.breaker, scene.clock);
      return scene;
    }

    it('does not close for a probe that is slow as well', () => {
      const { breaker, clock } = openBySlowness();
      const probe = breaker.acquire();
      clock.advance(100);
      probe.success();
      expect(breaker.state).to.equal('open');
      expect(rejectionOf(breaker).message).to.contain('a probe was slow, slow from 100 ms');
    });

    it('closes for a fast one', () => {
      const { breaker } = openBySlowness();
      succeed(breaker);
      expect(breaker.state).to.equal('closed');
    });

    it('counts a call that is given up when it is slow already', () => {
      const { breaker, clock } = breakerWithClock({ slowCallDuration: 100, minimumCalls: 2 });
      const first = breaker.acquire();
      clock.advance(100);
      first.abandon();
      expect(breaker.stats()).to.deep.include({ state: 'closed', slowCallRate: 1, failureRate: 0 });
      const second = breaker.acquire();
      clock.advance(100);
      second.abandon();
      expect(breaker.state).to.equal('open');
      expect(breaker.stats().calls).to.deep.include({ ignored: 2, failure: 0 });
    });
  });

  describe('open since its target could not be reached', () => {
    const refused = () => Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    function unreachable(options?: Parameters<typeof breakerWithClock>[0]) {
      const scene = breakerWithClock(options);
      while (scene.breaker.state === 'closed') scene.breaker.acquire().failure(refused());
      return scene;
    }

    it('probes at the first sign of life, once for each opening', () => {
      const { breaker } = unreachable();
      breaker.signOfLife();
      const probe = breaker.acquire();
      expect(breaker.state).to.equal('half_open');
      probe.failure(new Error('not as well as it seemed'));
      breaker.signOfLife();
      rejectionOf(breaker);
    });

    it('closes for a client whose calls have all waited for that one connection', () => {
      const { breaker } = unreachable();
      breaker.closeBySignOfLife();
      expect(breaker.state).to.equal('closed');
    });

    it('keeps to a Retry-After all the same', () => {
      const { breaker, clock } = breakerWithClock({ failureThreshold: 1 });
      const [first, second] = start(breaker, 2);
      first!.failure(refused());
      second!.failure(new Error('503'), 7_000);
      breaker.signOfLife();
      clock.advance(6_999);
      rejectionOf(breaker);
      clock.advance(1);
      breaker.acquire();
    });

    for (const [why, open] of [
      ['failed otherwise', openCircuit],
      ['was opened by hand', (breaker: Breaker) => breaker.forceOpen()],
      ['asked to wait', (breaker: Breaker) => breaker.acquire().failure(refused(), 5_000)],
      [
        'timed out',
        (breaker: Breaker) => {
          while (breaker.state === 'closed') breaker.acquire().timeout(new Error('late'));
        },
      ],
      [
        'could not be reached and was opened by hand',
        (breaker: Breaker) => {
          while (breaker.state === 'closed') breaker.acquire().failure(refused());
          breaker.forceOpen();
        },
      ],
    ] as const) {
      it(`hears no sign of life where it ${why}`, () => {
        const { breaker } = breakerWithClock();
        open(breaker);
        breaker.signOfLife();
        breaker.closeBySignOfLife();
        rejectionOf(breaker);
      });
    }

    it('takes connections that could not be made for failures, while it is closed', () => {
      const { breaker } = breakerWithClock({ failureThreshold: 2 });
      breaker.acquireEvidence().settle('ignored', new Error('the password is wrong'));
      breaker.acquireEvidence().settle('failure', new Error('Connection is closed.'));
      const second = new Error('Connection is closed.');
      breaker.acquireEvidence().settle('failure', second);
      breaker.acquireEvidence().settle('failure', second);
      expect(breaker.stats()).to.deep.include({ state: 'open', consecutiveFailures: 2 });
      expect(breaker.stats().calls).to.deep.include({ failure: 2, ignored: 1, inFlight: 0, rejected: 0 });
      breaker.closeBySignOfLife();
      expect(breaker.state).to.equal('closed');
    });
  });

  describe('given one error object by several calls', () => {
    const settle = (breaker: Breaker, error: Error, times: number) => {
      for (let call = 0; call < times; call++)
        (breaker.tryAcquire(undefined, false, SHARES_ERRORS) as Permit).failure(error);
    };

    it('counts it once within 50 ms for the calls of an instrumentation', () => {
      const { breaker, clock } = breakerWithClock({ failureThreshold: 3 });
      const error = new Error('other side closed');
      settle(breaker, error, 29);
      expect(breaker.stats().calls).to.deep.include({ failure: 1, ignored: 28 });
      clock.advance(50);
      settle(breaker, error, 1);
      settle(breaker, new Error('another'), 1);
      expect(breaker.state).to.equal('open');
    });

    it('counts it each time for the calls of code, which uses error objects again', async () => {
      const { breaker } = breakerWithClock({ failureThreshold: 4 });
      const error = new Error('always this one');
      for (let call = 0; call < 2; call++) {
        breaker.acquire().failure(error);
        await breaker.call(() => Promise.reject(error)).catch(() => undefined);
      }
      expect(breaker.state).to.equal('open');
    });
  });

  describe('asked how old its calls are', () => {
    it('knows how old the oldest one is at least, where it times its calls', () => {
      const { breaker, clock } = breakerWithClock({ slowCallDuration: '1h' });
      const oldest = breaker.acquire();
      expect(breaker.stats().calls.oldestMs).to.equal(0);
      clock.advance(90_000);
      const younger = breaker.acquire();
      clock.advance(10_000);
      expect(breaker.stats().calls.oldestMs).to.be.within(99_000, 100_000);
      expect(breaker.callsOlderThan(60_000)).to.equal(1);
      oldest.ignore();
      expect(breaker.stats().calls.oldestMs).to.be.within(9_000, 10_000);
      younger.failure(new Error('down'));
      expect(breaker.stats().calls.oldestMs).to.equal(null);
    });

    it('does not know otherwise', () => {
      const { breaker, clock } = breakerWithClock();
      start(breaker, 2);
      clock.advance(90_000);
      expect(breaker.stats().calls.oldestMs).to.equal(null);
      expect(breaker.callsOlderThan(60_000)).to.equal(0);
    });
  });

  describe('holding what it knows of a failure', () => {
    it('gives rejections a cause of their own, without its code, and says the code', () => {
      const { breaker } = breakerWithClock({ failureThreshold: 1 });
      const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
      const failure = Object.assign(new TypeError('fetch failed', { cause }), { status: 503, config: { secret: 1 } });
      breaker.acquire().failure(failure);
      const error = rejectionOf(breaker);
      expect(error.openedByCode).to.equal('ECONNREFUSED');
      expect(error.cause).to.be.instanceOf(Error).and.not.to.equal(failure);
      expect(error.cause).to.include({ name: 'TypeError', message: 'fetch failed', status: 503 });
      expect(error.cause).not.to.have.any.keys('code', 'config');
      expect((error.cause as Error).cause).to.equal(undefined);
    });

    it('cuts long messages', () => {
      const { breaker } = breakerWithClock({ failureThreshold: 1 });
      breaker.acquire().failure(new Error('x'.repeat(5_000_000)));
      expect((rejectionOf(breaker).cause as Error).message).to.have.length(1_000);
    });

    for (const [what, cause, message] of [
      ['a string', 'down', 'down'],
      ['null', null, 'null'],
      ['a symbol', Symbol('down'), 'Symbol(down)'],
      ['an object without a message', {}, ''],
    ] as const) {
      it(`makes an error of ${what}`, () => {
        const { breaker } = breakerWithClock({ failureThreshold: 1 });
        breaker.acquire().failure(cause);
        expect(rejectionOf(breaker).cause).to.be.instanceOf(Error).and.include({ name: 'Error', message });
      });
    }
  });

  describe('in mode observe', () => {
    it('goes through all states, rejects nothing and counts what it would have rejected', () => {
      const { breaker, clock } = breakerWithClock({ mode: 'observe', halfOpenMaxCalls: 1, failureThreshold: 2 });
      const changes = recordTransitions(breaker);
      fail(breaker, 4);
      waitUntilProbe(breaker, clock);
      const [first, beyond, last] = start(breaker, 3);
      beyond!.failure(new Error('not a probe'));
      last!.success();
      expect(breaker.state).to.equal('half_open');
      first!.success();
      succeed(breaker);
      expect(changes.map(({ to }) => to)).to.deep.equal(['open', 'half_open', 'closed']);
      expect(breaker.tally).to.include({ rejectedOpen: 0, rejectedHalfOpen: 0 });
      expect(breaker.tally).to.include({ unenforcedOpen: 2, unenforcedHalfOpen: 2 });
      expect(breaker.stats().calls).to.deep.equal({
        success: 3,
        failure: 5,
        ignored: 0,
        rejected: 0,
        inFlight: 0,
        oldestMs: null,
      });
    });
  });

  describe('in mode off', () => {
    it('lets every call through and counts none', async () => {
      const { breaker } = breakerWithClock({ mode: 'off', failureThreshold: 1 });
      fail(breaker, 3);
      await breaker.call(() => Promise.reject(new Error('down'))).catch(() => undefined);
      breaker.forceOpen();
      expect(await breaker.call(() => 'through')).to.equal('through');
      expect(breaker.acquire()).to.equal(UNGUARDED);
      expect(breaker.stats().calls).to.deep.equal({
        success: 0,
        failure: 0,
        ignored: 0,
        rejected: 0,
        inFlight: 0,
        oldestMs: null,
      });
    });

    it('gives calls under way their outcome where it comes in between', () => {
      const { breaker } = breakerWithClock();
      const call = breaker.acquire();
      breaker.reconfigure(resolveConfig({ mode: 'off' }));
      call.success();
      expect(breaker.stats().calls).to.deep.include({ success: 1, inFlight: 0 });
    });
  });

  describe('asking isFailure', () => {
    const causes = { counted: new Error('counted'), fine: new Error('fine'), neither: new Error('neither') };
    const isFailure = (cause: unknown) => (cause === causes.neither ? 'ignored' : cause !== causes.fine);

    it('takes true for a failure, false for a success and "ignored" for no verdict', () => {
      const { breaker } = breakerWithClock({ isFailure });
      for (const cause of Object.values(causes)) breaker.acquire().failure(cause);
      expect(breaker.stats().calls).to.deep.include({ failure: 1, success: 1, ignored: 1 });
      expect(breaker.stats().failureRate).to.equal(0.5);
    });

    it('asks about timeouts too, whatever countTimeouts says', () => {
      const { breaker } = breakerWithClock({ isFailure, countTimeouts: false });
      for (const cause of Object.values(causes)) breaker.acquire().timeout(cause);
      expect(breaker.stats().calls).to.deep.include({ failure: 1, success: 1, ignored: 1 });
    });

    it('closes a half-open circuit with failures that are none, and not with ignored ones', () => {
      const { breaker, clock } = breakerWithClock({ isFailure, successThreshold: 2 });
      startProbe(breaker, clock).failure(causes.neither);
      breaker.acquire().failure(causes.fine);
      expect(breaker.state).to.equal('half_open');
      breaker.acquire().failure(causes.fine);
      expect(breaker.state).to.equal('closed');
    });

    it('counts a failure where it throws, says so, and gives the caller its own error', async () => {
      const reports = captureDiagnostics();
      const bug = new Error('a bug in isFailure');
      const { breaker } = breakerWithClock({
        isFailure: () => {
          throw bug;
        },
      });
      const own = new Error('down');
      const caught: unknown = await breaker.call(() => Promise.reject(own)).catch((error: unknown) => error);
      expect(caught).to.equal(own);
      expect(breaker.stats().calls.failure).to.equal(1);
      expect(reports).to.deep.equal([
        ['isFailure of circuit breaker "target" threw; the call counts as a failure', bug],
      ]);
    });

    it('takes a verdict that is none for a failure', () => {
      const { breaker } = breakerWithClock({ isFailure: (() => undefined) as never });
      fail(breaker);
      expect(breaker.stats().calls.failure).to.equal(1);
    });
  });

  describe('told to reset', () => {
    it('closes, forgets and keeps its counts', () => {
      const { breaker } = breakerWithClock();
      openCircuit(breaker);
      breaker.reset();
      expect(breaker.stats()).to.deep.include({
        state: 'closed',
        consecutiveFailures: 0,
        failureRate: 0,
        transitionCount: 2,
      });
      expect(breaker.stats().calls.failure).to.equal(5);
    });

    it('forgets failures although it was closed, and does not hear of calls that began before', () => {
      const { breaker } = breakerWithClock();
      fail(breaker, 4);
      const before = breaker.acquire();
      breaker.reset();
      before.failure(new Error('from before'));
      expect(breaker.stats()).to.include({ consecutiveFailures: 0, failureRate: 0, transitionCount: 0 });
    });
  });

  describe('telling of its transitions', () => {
    it('names what changed, why and for how long', () => {
      const { breaker, clock } = breakerWithClock({ failureThreshold: 2, successThreshold: 1 });
      const changes = recordTransitions(breaker);
      const down = new Error('down');
      breaker.acquire().failure(new Error('first'));
      breaker.acquire().failure(down);
      const openedAt = new Date(clock.wallNow());
      clock.advance(60_000);
      succeed(breaker);
      const closedAt = new Date(clock.wallNow());
      const rest = { name: 'target', cause: undefined, retryAfterMs: undefined, failureRate: 0, by: 'self' };
      expect(changes).to.deep.equal([
        {
          ...rest,
          from: 'closed',
          to: 'open',
          at: openedAt,
          reason: '2 consecutive failures (threshold 2)',
          cause: down,
          failureRate: 1,
          retryAfterMs: 60_000,
        },
        { ...rest, from: 'open', to: 'half_open', at: closedAt, reason: 'was open for 60 s' },
        {
          ...rest,
          from: 'half_open',
          to: 'closed',
          at: closedAt,
          reason: '1 successful probes in a row (threshold 1)',
        },
      ]);
    });

    it('has changed before it tells', () => {
      const { breaker } = breakerWithClock();
      const seen: string[] = [];
      breaker.onTransition(({ to }) => seen.push(`${to}: ${breaker.state}`));
      openCircuit(breaker);
      breaker.reset();
      expect(seen).to.deep.equal(['open: open', 'closed: closed']);
    });

    it('lets a listener make calls', () => {
      const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 2 });
      breaker.onTransition(({ to }) => {
        if (to === 'half_open') breaker.acquire();
      });
      startProbe(breaker, clock);
      expect(breaker.stats().calls.inFlight).to.equal(2);
      rejectionOf(breaker);
    });

    it('keeps what a listener counts while the circuit closes', () => {
      const { breaker } = breakerWithClock();
      openCircuit(breaker);
      breaker.onTransition(({ to }) => {
        if (to === 'closed') fail(breaker);
      });
      breaker.reset();
      expect(breaker.stats()).to.include({ consecutiveFailures: 1, failureRate: 1 });
    });

    it('lets a listener change the state again', () => {
      const { breaker, clock } = breakerWithClock();
      breaker.onTransition(({ to }) => {
        if (to === 'half_open') breaker.forceOpen();
      });
      openCircuit(breaker);
      waitUntilProbe(breaker, clock);
      rejectionOf(breaker);
      expect(breaker.state).to.equal('open');
    });

    it('tells all of a change before anybody hears of one that a listener makes', () => {
      const { breaker } = breakerWithClock();
      const heard: string[] = [];
      breaker.onTransition(({ to }) => {
        heard.push(`first: ${to}`);
        if (to === 'open') breaker.reset();
      });
      breaker.onTransition(({ to }) => heard.push(`second: ${to}`));
      fail(breaker, 5);
      expect(heard).to.deep.equal(['first: open', 'second: open', 'first: closed', 'second: closed']);
    });

    it('goes on where a listener throws, and says so', () => {
      const reports = captureDiagnostics();
      const { breaker } = breakerWithClock();
      const bug = new Error('a bug in a listener');
      breaker.onTransition(() => {
        throw bug;
      });
      const changes = recordTransitions(breaker);
      openCircuit(breaker);
      expect(changes).to.have.length(1);
      expect(reports).to.deep.equal([['A transition listener of circuit breaker "target" threw', bug]]);
    });

    it('stops for each registration on its own', () => {
      const { breaker } = breakerWithClock();
      let told = 0;
      const listener = () => told++;
      const stop = breaker.onTransition(listener);
      breaker.onTransition(listener);
      stop();
      stop();
      breaker.forceOpen();
      expect(told).to.equal(1);
    });
  });

  describe('under telemetry that fails', () => {
    it('makes and rejects calls all the same, and says what went wrong', async () => {
      const reports = captureDiagnostics();
      const { breaker } = breakerWithClock({ failureThreshold: 1 });
      const bug = new Error('a bug in telemetry');
      const broken = () => {
        throw bug;
      };
      breaker.observer = { onTransition: broken, onRejection: broken };
      const down = new Error('down');
      const errors = [];
      for (let call = 0; call < 2; call++) {
        errors.push(await breaker.call(() => Promise.reject(down)).catch((error: unknown) => error));
      }
      expect(errors[0]).to.equal(down);
      expect(errors[1]).to.be.instanceOf(CircuitOpenError);
      expect(reports).to.deep.equal([['Telemetry of circuit breaker "target" failed; its circuit works on', bug]]);
    });
  });

  describe('given new options', () => {
    const reconfigure = (breaker: Breaker, options: Parameters<typeof resolveConfig>[0]) =>
      breaker.reconfigure(resolveConfig(options));

    it('keeps its state, its counts and what it has seen', () => {
      const { breaker, clock } = breakerWithClock({ window: '10s', failureThreshold: 100 });
      fail(breaker, 3);
      succeed(breaker, 1);
      reconfigure(breaker, { window: '1s', failureThreshold: 100 });
      expect(breaker.stats()).to.deep.include({ failureRate: 0.75, state: 'closed' });
      expect(breaker.config.window).to.equal(1_000);
      clock.advance(1_000);
      expect(breaker.stats().failureRate).to.equal(0);
    });

    it('keeps the age of what it has seen where the window becomes shorter', () => {
      const { breaker, clock } = breakerWithClock({ window: '10m', failureThreshold: 100 });
      fail(breaker, 3);
      clock.advance(300_000);
      succeed(breaker);
      reconfigure(breaker, { window: '2m', failureThreshold: 100 });
      expect(breaker.stats().failureRate).to.equal(0);
      reconfigure(breaker, { window: '10m', failureThreshold: 100 });
      expect(breaker.stats().failureRate).to.equal(0);
    });

    it('goes by new limits from the next call on', () => {
      const { breaker } = breakerWithClock();
      fail(breaker, 2);
      reconfigure(breaker, { failureThreshold: 3 });
      fail(breaker);
      expect(breaker.state).to.equal('open');
    });

    it('begins and ends to watch slow calls', () => {
      const { breaker, clock } = breakerWithClock();
      const unwatched = breaker.acquire();
      reconfigure(breaker, { slowCallDuration: 100 });
      const watched = breaker.acquire();
      clock.advance(100);
      expect(breaker.stats().slowCallRate).to.equal(1);
      unwatched.success();
      watched.success();
      expect(breaker.stats().slowCallRate).to.equal(0.5);
      reconfigure(breaker, {});
      start(breaker, 1);
      clock.advance(100);
      expect(breaker.stats().slowCallRate).to.equal(0.5);
    });
  });

  it('forgets a call that is given up on when it looks for slow ones', () => {
    const { breaker, clock } = breakerWithClock({ slowCallDuration: 100, minimumCalls: 2 });
    ignore(breaker, 3);
    clock.advance(100);
    expect(breaker.stats().slowCallRate).to.equal(0);
    succeed(breaker);
    expect(breaker.state).to.equal('closed');
  });

  it('reports to nobody where nobody listens', () => {
    expect(() => diagnostics.report('unheard', new Error())).not.to.throw();
  });
});
