import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import type { Target } from '../../../src/target.js';
import { openCircuit } from '../../support/breakers.js';
import { FakeClock } from '../../support/clock.js';
import { countCalls, only, TestGuard } from '../../support/guarded.js';

const target: Target = { system: 'postgresql', scheme: 'postgresql', host: 'db', port: 5432, database: 'd' };

describe('Guard.pass', () => {
  it('counts while closed like any call, failures included', () => {
    const guard = new TestGuard({ failureThreshold: 2 });
    guard.pass(target).failure(new Error('down'));
    guard.pass(target).failure(new Error('down'));
    expect(guard.only.state).to.equal('open');
  });

  it('rejects nothing while the circuit is open, and counts all the same', () => {
    const guard = new TestGuard();
    const breaker = guard.breakerOf(target);
    openCircuit(breaker);
    expect(guard.isClosed(target)).to.equal(false);
    const counts = countCalls(breaker);
    guard.pass(target).success();
    guard.pass(target).failure(new Error('down'));
    expect(counts()).to.deep.equal(only({ success: 1, failure: 1 }));
    expect(breaker.state).to.equal('open');
  });

  it('is no probe', () => {
    const clock = new FakeClock();
    const breaker = new CircuitBreaker('b', { openDuration: 10, halfOpenMaxCalls: 1, successThreshold: 1 }, clock);
    openCircuit(breaker);
    clock.advance(10);
    const probe = breaker.acquire();
    breaker.acquireAnyway().success();
    breaker.acquireAnyway().failure(new Error('down'));
    expect(breaker.state).to.equal('half_open');
    probe.success();
    expect(breaker.state).to.equal('closed');
  });

  it('takes part in the slow-call rule', () => {
    const clock = new FakeClock();
    const options = { slowCallDuration: 10, slowCallRateThreshold: 0.5, minimumCalls: 1 };
    const breaker = new CircuitBreaker('b', options, clock);
    const permit = breaker.acquireAnyway();
    clock.advance(10);
    permit.success();
    expect(breaker.state).to.equal('open');
  });

  it('is forgotten by the slow-call rule when it is ignored', () => {
    const clock = new FakeClock();
    const options = { slowCallDuration: 10, slowCallRateThreshold: 0.5, minimumCalls: 1 };
    const breaker = new CircuitBreaker('b', options, clock);
    breaker.acquireAnyway().ignore();
    clock.advance(10);
    expect(breaker.stats().slowCallRate).to.equal(0);
    breaker.acquire().success();
    expect(breaker.state).to.equal('closed');
  });

  it('has no say in mode off', () => {
    const off = new TestGuard({ mode: 'off' });
    expect(off.pass(target).settled).to.equal(true);
    expect(new TestGuard().pass(target).settled).to.equal(false);
  });

  it('steps aside where the rules fail', () => {
    const guard = new TestGuard();
    const broken: Target = { ...target, host: undefined as never, scheme: Symbol() as never };
    expect(guard.pass(broken).settled).to.equal(true);
    expect(guard.isClosed(broken)).to.equal(true);
  });
});
