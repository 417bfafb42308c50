import { expect } from 'chai';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import { resolveConfig } from '../../../src/breaker/config.js';
import { UNGUARDED } from '../../../src/breaker/permit.js';
import {
  breakerWithClock,
  fail,
  openCircuit,
  recordTransitions,
  rejectionOf,
  startProbe,
  succeed,
  waitUntilProbe,
  lose,
} from '../../support/breakers.js';

const OPTIONS = { failureThreshold: 3, successThreshold: 1, openDuration: 100, recoveryDuration: 1_000 } as const;

/** A circuit whose probe has just succeeded. */
function recovering(options = {}) {
  const { breaker, clock } = breakerWithClock({ ...OPTIONS, ...options });
  const transitions = recordTransitions(breaker);
  startProbe(breaker, clock).success();
  return { breaker, clock, transitions };
}

describe('A circuit that recovers', () => {
  it('lets a tenth of the calls through at first, and all in the end', () => {
    const { breaker, clock } = recovering();
    const admittedOf = (calls: number) => {
      let admitted = 0;
      for (let call = 0; call < calls; call++) {
        const admission = breaker.tryAcquire();
        if (admission instanceof CircuitOpenError) continue;
        admission.success();
        admitted++;
      }
      return admitted;
    };
    expect(breaker.admittedShare).to.equal(0.1);
    expect(admittedOf(100)).to.equal(10);
    clock.advance(500);
    expect(admittedOf(100)).to.be.within(54, 56);
    clock.advance(499);
    expect(admittedOf(100)).to.be.within(99, 100);
    expect(breaker.state).to.equal('half_open');
    clock.advance(1);
    expect(breaker.state).to.equal('half_open');
    succeed(breaker);
    expect(breaker.state).to.equal('closed');
    expect(breaker.admittedShare).to.equal(undefined);
  });

  it('lets the first call through, whatever its share', () => {
    const { breaker } = recovering();
    succeed(breaker);
    expect(rejectionOf(breaker).state).to.equal('half_open');
  });

  it('tells rejected calls when all are let through', () => {
    const { breaker, clock } = recovering();
    succeed(breaker);
    clock.advance(250);
    const { message, retryAfterMs } = rejectionOf(breaker);
    expect(retryAfterMs).to.equal(750);
    expect(message).to.equal(
      'Circuit "target" is half-open: its target has just come back, and 32.5 % of calls are let through; all of them in 750 ms',
    );
  });

  it('tells of its beginning and of its end', () => {
    const { breaker, clock, transitions } = recovering();
    succeed(breaker);
    clock.advance(1_000);
    succeed(breaker);
    expect(transitions.slice(2).map(({ from, to, reason }) => [from, to, reason])).to.deep.equal([
      [
        'half_open',
        'half_open',
        '1 successful probes in a row (threshold 1); the share of calls that are let through grows for 1 s',
      ],
      ['half_open', 'closed', 'recovered: 1 of 1 calls were let through meanwhile, and no limit was reached'],
    ]);
    expect(breaker.stats().transitionCount).to.equal(3);
  });

  it('opens again by failures in a row, not by a single one', () => {
    const { breaker, clock } = recovering();
    clock.advance(999);
    fail(breaker, 2);
    expect(breaker.state).to.equal('half_open');
    fail(breaker);
    expect(breaker.state).to.equal('open');
    waitUntilProbe(breaker, clock);
    succeed(breaker);
    expect(breaker.admittedShare).to.equal(0.1);
  });

  it('opens again by the rate of failures among the calls let through', () => {
    const { breaker, clock } = recovering({ failureThreshold: 100, minimumCalls: 4 });
    clock.advance(999);
    for (let call = 0; call < 2; call++) {
      succeed(breaker);
      fail(breaker);
    }
    expect(breaker.state).to.equal('open');
    expect(rejectionOf(breaker).message).to.include('failure rate 50 % of 4 calls');
  });

  it('does not end before its time where a connection is made', () => {
    const { breaker } = breakerWithClock(OPTIONS);
    lose(breaker);
    breaker.closeBySignOfLife();
    expect([breaker.state, breaker.admittedShare]).to.deep.equal(['half_open', 0.1]);
    breaker.closeBySignOfLife();
    expect(breaker.state).to.equal('half_open');
  });

  it('ends by hand either way, and is over where new rules turn it off and the time they gave is up', () => {
    for (const [end, state] of [
      ['reset', 'closed'],
      ['forceOpen', 'open'],
    ] as const) {
      const { breaker } = recovering();
      breaker[end]();
      expect([breaker.state, breaker.admittedShare]).to.deep.equal([state, undefined]);
    }
  });

  it('opens again by connections that cannot be made, which take no share of the calls', () => {
    const { breaker } = recovering();
    for (let lost = 0; lost < 3; lost++) breaker.acquireEvidence().settle('failure', new Error('refused'));
    expect([breaker.state, breaker.tally.rejectedHalfOpen]).to.deep.equal(['open', 0]);
    expect(breaker.acquireEvidence()).to.equal(UNGUARDED);
  });

  it('opens again where the fleet says that the target is dead', () => {
    const { breaker, transitions } = recovering();
    breaker.openAdvised(5_000, 'the fleet opened it');
    expect([breaker.state, breaker.isAdvised, breaker.openLeft]).to.deep.equal(['open', true, 5_000]);
    expect(transitions.at(-1)).to.include({ from: 'half_open', to: 'open', by: 'fleet' });
  });

  it('rejects nothing in mode observe', () => {
    const { breaker } = recovering({ mode: 'observe' });
    succeed(breaker, 20);
    expect(breaker.tally).to.include({ unenforcedHalfOpen: 18, rejectedHalfOpen: 0 });
  });
});

describe('Probes of which some may fail', () => {
  function probing() {
    const { breaker, clock } = breakerWithClock({
      failureThreshold: 2,
      successThreshold: '3 of 5',
      halfOpenMaxCalls: 1,
      openDuration: 100,
    });
    const transitions = recordTransitions(breaker);
    openCircuit(breaker);
    waitUntilProbe(breaker, clock);
    return { breaker, transitions };
  }

  it('close the circuit once so many have succeeded', () => {
    const { breaker, transitions } = probing();
    fail(breaker);
    succeed(breaker, 2);
    fail(breaker);
    expect(breaker.state).to.equal('half_open');
    succeed(breaker);
    expect(breaker.state).to.equal('closed');
    expect(transitions.at(-1)!.reason).to.equal('3 of 5 probes succeeded (threshold 3 of 5)');
  });

  it('open it once that can no longer be', () => {
    const { breaker, transitions } = probing();
    succeed(breaker, 2);
    fail(breaker, 2);
    expect(breaker.state).to.equal('half_open');
    fail(breaker);
    expect(breaker.state).to.equal('open');
    expect(transitions.at(-1)!.reason).to.equal('3 probes failed');
  });
});

describe('A window of calls', () => {
  const options = { window: '10 calls', minimumCalls: 10, failureThreshold: 100 } as const;

  it('judges by the last calls, however long ago they were', () => {
    const { breaker, clock } = breakerWithClock(options);
    expect(breaker.config.window).to.deep.equal({ calls: 10 });
    fail(breaker, 4);
    clock.advance(24 * 60 * 60_000);
    succeed(breaker, 5);
    expect(breaker.stats().failureRate).to.equal(4 / 9);
    fail(breaker);
    expect(rejectionOf(breaker).message).to.include('failure rate 50 % of the last 10 calls (threshold 50 %)');
  });

  it('forgets the oldest call with each further one', () => {
    const { breaker } = breakerWithClock(options);
    fail(breaker, 4);
    succeed(breaker, 10);
    fail(breaker, 4);
    expect(breaker.stats()).to.include({ state: 'closed', failureRate: 0.4 });
  });

  it('keeps the last calls where it gets longer or shorter, or follows a window of time', () => {
    const { breaker } = breakerWithClock({ ...options, window: '30s' });
    const under = (window: string) => {
      breaker.reconfigure(resolveConfig({ ...options, window, minimumCalls: 2 }));
      return breaker.stats().failureRate;
    };
    fail(breaker, 2);
    succeed(breaker, 6);
    expect(under('20 calls')).to.equal(0.25);
    expect(under('8 calls')).to.equal(0.25);
    expect(under('4 calls')).to.equal(0.25);
    succeed(breaker, 4);
    expect(under('100 calls')).to.equal(0);
    // Nobody knows how long ago they were.
    expect(under('30s')).to.equal(0);
  });

  it('can be given again as it is', () => {
    const { breaker } = breakerWithClock(options);
    expect(resolveConfig({ ...breaker.config, mode: 'observe' }).window).to.deep.equal({ calls: 10 });
  });

  it('has as many calls as a rate needs', () => {
    expect(() => resolveConfig({ window: '9 calls' })).to.throw('minimumCalls: got 10; the window has 9 calls');
  });
});
