import { expect } from 'chai';
import type { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import { captureDiagnostics } from '../../support/diagnostics.js';
import { breakerWithClock, fail, openCircuit, recordTransitions } from '../../support/breakers.js';

/** An advisor that lets a call probe, or does not. */
function advise(breaker: CircuitBreaker) {
  const advisor = {
    may: false,
    asked: 0,
    probes: 0,
    signs: 0,
    mayProbe: () => {
      advisor.asked++;
      return advisor.may;
    },
    onProbe: () => void advisor.probes++,
    onSignOfLife: () => void advisor.signs++,
  };
  breaker.advisor = advisor;
  return advisor;
}

const made = () => breakerWithClock({ failureThreshold: 2, openDuration: 10_000, successThreshold: 1 });

describe('the door of a breaker to a fleet', () => {
  it('opens a closed circuit for as long as it is told, and says who did', () => {
    const { breaker, clock } = made();
    const changes = recordTransitions(breaker);
    breaker.openAdvised(5_000, 'the fleet opened it');
    expect(changes).length(1);
    expect(changes[0]).include({ to: 'open', by: 'fleet', reason: 'the fleet opened it', retryAfterMs: 5_000 });
    expect(breaker).include({ isAdvised: true, isTripped: false, openLeft: 5_000 });
    expect(breaker.tryAcquire()).instanceOf(CircuitOpenError);
    clock.advance(5_000);
    expect(breaker.tryAcquire()).not.instanceOf(CircuitOpenError);
  });

  it('moves the end of an opening that calls have brought about', () => {
    const { breaker, clock } = made();
    openCircuit(breaker);
    breaker.openAdvised(20_000, 'the fleet opened it');
    expect(breaker).include({ isAdvised: false, isTripped: true, openLeft: 20_000 });
    clock.advance(10_000);
    expect(breaker.tryAcquire()).instanceOf(CircuitOpenError);
  });

  it('does nothing to a circuit that is half-open, was opened by hand, or is off', () => {
    const { breaker, clock } = made();
    openCircuit(breaker);
    clock.advance(10_000);
    breaker.tryAcquire();
    breaker.openAdvised(5_000, 'the fleet opened it');
    expect(breaker.state).equal('half_open');
    const byHand = made().breaker;
    byHand.forceOpen();
    byHand.openAdvised(5_000, 'the fleet opened it');
    expect(byHand.stats().openUntil).equal(null);
    byHand.closeAdvised('the fleet closed it');
    expect(byHand.state).equal('open');
    const off = breakerWithClock({ mode: 'off' }).breaker;
    off.openAdvised(5_000, 'the fleet opened it');
    expect(off.state).equal('closed');
  });

  it('closes what it has opened, and lets probe at once what calls have opened', () => {
    const advised = made().breaker;
    const changes = recordTransitions(advised);
    advised.openAdvised(5_000, 'the fleet opened it');
    advised.closeAdvised('the fleet closed it');
    expect(changes.at(-1)).include({ to: 'closed', by: 'fleet' });
    const tripped = made().breaker;
    openCircuit(tripped);
    tripped.closeAdvised('the fleet closed it');
    expect(tripped).include({ state: 'open', openLeft: 0 });
    expect(tripped.tryAcquire()).not.instanceOf(CircuitOpenError);
  });

  it('closes what it has opened after probes that failed, too', () => {
    const { breaker, clock } = made();
    breaker.openAdvised(5_000, 'the fleet opened it');
    clock.advance(5_000);
    breaker.acquire().failure(new Error('down'));
    expect(breaker).include({ state: 'open', isAdvised: true, isTripped: false });
    breaker.closeAdvised('the fleet closed it');
    expect(breaker.state).equal('closed');
  });

  it('leaves alone what its target has asked for', () => {
    const { breaker } = made();
    breaker.acquire().failure(new Error('busy'), 8_000);
    breaker.closeAdvised('the fleet closed it');
    expect(breaker.openLeft).equal(8_000);
    breaker.openAdvised(1_000, 'the fleet opened it');
    expect(breaker.openLeft).equal(8_000);
  });

  it('asks before a circuit turns half-open and before each probe', () => {
    const { breaker, clock } = made();
    const advisor = advise(breaker);
    openCircuit(breaker);
    expect(advisor.asked).equal(0);
    clock.advance(10_000);
    expect(breaker.tryAcquire()).instanceOf(CircuitOpenError);
    expect(breaker.state).equal('open');
    advisor.may = true;
    expect(breaker.tryAcquire()).not.instanceOf(CircuitOpenError);
    expect(advisor.probes).equal(1);
    advisor.may = false;
    expect(breaker.tryAcquire()).instanceOf(CircuitOpenError);
    expect(breaker.tryProbe()).equal(undefined);
    expect(advisor.probes).equal(1);
  });

  it('goes on as without a fleet where asking it fails', () => {
    const reports = captureDiagnostics();
    const { breaker, clock } = made();
    const broken = () => {
      throw new Error('of the fleet');
    };
    breaker.advisor = { mayProbe: broken, onProbe: broken, onSignOfLife: broken };
    openCircuit(breaker);
    breaker.signOfLife();
    clock.advance(10_000);
    expect(breaker.tryAcquire()).not.instanceOf(CircuitOpenError);
    expect(reports.map(([message]) => message)).include('Asking the fleet about circuit breaker "target" failed');
  });

  it('tells of a sign of life while it is open', () => {
    const { breaker } = made();
    const advisor = advise(breaker);
    breaker.signOfLife();
    breaker.openAdvised(5_000, 'the fleet opened it');
    breaker.signOfLife();
    breaker.closeBySignOfLife();
    expect(advisor.signs).equal(2);
    expect(breaker.state).equal('open');
  });

  it('shows what its calls say of the target', () => {
    const { breaker, clock } = breakerWithClock({ failureThreshold: 5 });
    breaker.timeCalls();
    expect(breaker.evidence()).include({ streak: 0, lastSuccessStart: -Infinity, failures: 0, isProbing: false });
    const good = breaker.acquire();
    const startedAt = clock.now();
    clock.advance(100);
    good.success();
    expect(breaker.evidence().lastSuccessStart).equal(startedAt);
    const bad = breaker.acquire();
    const troubleSince = clock.now();
    clock.advance(50);
    bad.failure(new Error('down'));
    fail(breaker);
    expect(breaker.evidence()).include({ streak: 2, troubleSince, failures: 2, isFailing: false });
  });

  it('knows of a success whose call was under way when the circuit opened', () => {
    const { breaker, clock } = made();
    breaker.timeCalls();
    const call = breaker.acquire();
    const startedAt = clock.now();
    breaker.openAdvised(5_000, 'the fleet opened it');
    clock.advance(10);
    call.success();
    expect(breaker.evidence().lastSuccessStart).equal(startedAt);
  });
});
