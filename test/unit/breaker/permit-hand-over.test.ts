import { expect } from 'chai';
import { Permit, SETTLED, UNGUARDED } from '../../../src/breaker/permit.js';
import { breakerWithClock, openCircuit } from '../../support/breakers.js';

/** What a client knows of a call: its own permit once it is let through. */
class Call extends Permit {
  constructor() {
    super(UNGUARDED.breaker, UNGUARDED.generation, NaN, SETTLED);
  }
}

describe('A permit that is the call itself', () => {
  it('is the very object that asks, counted and settled once', () => {
    const { breaker } = breakerWithClock({});
    const call = new Call();
    expect(breaker.tryAcquire(call)).to.equal(call);
    expect(breaker.stats().calls.inFlight).to.equal(1);
    call.success();
    call.success();
    expect(breaker.stats().calls).to.include({ success: 1, inFlight: 0 });
  });

  it('stays settled where the call is rejected', () => {
    const { breaker } = breakerWithClock({});
    openCircuit(breaker);
    const call = new Call();
    expect(breaker.tryAcquire(call)).not.to.equal(call);
    expect(call.settled).to.equal(true);
    expect(breaker.stats().calls.inFlight).to.equal(0);
  });

  it('hands the slot of a probe over to the call that takes its place', () => {
    const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 1, successThreshold: 1 });
    openCircuit(breaker);
    clock.advance(breaker.config.openDuration);
    const [checkout, statement] = [new Call(), new Call()];
    expect(breaker.tryAcquire(checkout)).to.equal(checkout);
    statement.takeThePlaceOf(checkout);
    expect([checkout.settled, statement.settled]).to.deep.equal([true, false]);
    expect(breaker.tryAcquire(new Call())).to.be.instanceOf(Error);
    checkout.success();
    expect(breaker.state).to.equal('half_open');
    statement.ignore();
    // The slot is free again.
    const probe = new Call();
    expect(breaker.tryAcquire(probe)).to.equal(probe);
    probe.success();
    expect(breaker.state).to.equal('closed');
    expect(breaker.stats().calls.inFlight).to.equal(0);
  });

  it('is slow at the end of the call that took its place', () => {
    const { breaker, clock } = breakerWithClock({
      slowCallDuration: 100,
      slowCallRateThreshold: 0.5,
      minimumCalls: 2,
    });
    const [checkout, statement, other] = [new Call(), new Call(), new Call()];
    breaker.tryAcquire(checkout);
    statement.takeThePlaceOf(checkout);
    breaker.tryAcquire(other);
    other.success();
    statement.success();
    expect(breaker.stats().slowCallRate).to.equal(0);
    clock.advance(1_000);
    breaker.tryAcquire(other);
    other.success();
    // Nothing that has ended is slow in flight.
    expect(breaker.stats().slowCallRate).to.equal(0);
    expect(breaker.state).to.equal('closed');
  });
});
