import { expect } from 'chai';
import { createHook } from 'node:async_hooks';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { isCircuitOpenError } from '../../../src/breaker/errors.js';
import { CircuitBreakerRegistry } from '../../../src/breaker/registry.js';
import {
  breakerWithClock,
  fail,
  ignore,
  openCircuit,
  rejectionOf,
  start,
  startProbe,
  succeed,
  waitUntilProbe,
} from '../../support/breakers.js';

// What goes wrong in circuit breakers again and again, by the issues of opossum, cockatiel, Polly, resilience4j and
// undici. Classes that concern a client and not the circuit (nested clients, bodies) have their tests with the clients.
describe('What goes wrong in other circuit breakers', () => {
  it('does not happen here: a probe that is aborted, or never ends, does not hold its slot for ever', () => {
    const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 2, halfOpenTimeout: 1_000, successThreshold: 2 });
    const aborted = startProbe(breaker, clock);
    breaker.acquire();
    rejectionOf(breaker);
    aborted.ignore();
    succeed(breaker);
    breaker.acquire();
    rejectionOf(breaker);
    clock.advance(1_000);
    succeed(breaker);
    expect(breaker.state).to.equal('closed');
  });

  it('does not happen here: the late result of an earlier state changes nothing', () => {
    const { breaker, clock } = breakerWithClock({ failureThreshold: 2, successThreshold: 1 });
    const [lateSuccess, lateFailure, veryLateFailure, lateHold] = start(breaker, 4);
    const lateProbe = startProbe(breaker, clock);
    lateSuccess!.success();
    lateFailure!.failure(new Error('down'));
    expect(breaker.state).to.equal('half_open');
    succeed(breaker);
    expect(breaker.state).to.equal('closed');
    veryLateFailure!.failure(new Error('down'));
    lateProbe.failure(new Error('down'));
    lateHold!.failure(new Error('busy'), 1_000);
    expect(breaker.stats()).to.include({ state: 'closed', consecutiveFailures: 0, failureRate: 0 });
  });

  it('does not happen here: neither a cancelled nor a filtered call closes a half-open circuit', async () => {
    const busy = new Error('busy');
    const { breaker, clock } = breakerWithClock({
      successThreshold: 1,
      isFailure: (cause) => (cause === busy ? 'ignored' : true),
    });
    startProbe(breaker, clock).failure(busy);
    ignore(breaker, 20);
    await breaker.call(() => Promise.reject(busy)).catch(() => undefined);
    expect(breaker.stats()).to.include({ state: 'half_open', consecutiveSuccesses: 0 });
    expect(breaker.stats().calls).to.deep.include({ ignored: 22, inFlight: 0 });
  });

  it('does not happen here: a thousand callers at once send no more probes than allowed', () => {
    const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 3 });
    openCircuit(breaker);
    waitUntilProbe(breaker, clock);
    const outcomes = Array.from({ length: 1_000 }, () => breaker.tryAcquire());
    expect(outcomes.filter((outcome) => isCircuitOpenError(outcome))).to.have.length(997);
    expect(breaker.stats().calls.inFlight).to.equal(3);
  });

  it('does not happen here: a slot given back is one slot, although it is given back twice', () => {
    const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 1 });
    const probe = startProbe(breaker, clock);
    probe.ignore();
    probe.ignore();
    breaker.acquire();
    rejectionOf(breaker);
  });

  it('does not happen here: failures from before an idle time do not count in the window after it', () => {
    const { breaker, clock } = breakerWithClock({ window: '5s', minimumCalls: 4, failureThreshold: 100 });
    fail(breaker, 3);
    clock.advance(300_000);
    expect(breaker.stats().failureRate).to.equal(0);
    fail(breaker, 1);
    succeed(breaker, 2);
    expect(breaker.state).to.equal('closed');
  });

  it('does not happen here: rejected calls are no calls to the window', () => {
    const { breaker, clock } = breakerWithClock({ successThreshold: 1, minimumCalls: 4, failureThreshold: 4 });
    openCircuit(breaker);
    const { failureRate } = breaker.stats();
    for (let call = 0; call < 100; call++) rejectionOf(breaker);
    expect(breaker.stats().failureRate).to.equal(failureRate);
    waitUntilProbe(breaker, clock);
    succeed(breaker);
    expect(breaker.stats()).to.include({ state: 'closed', failureRate: 0 });
    fail(breaker, 3);
    expect(breaker.state).to.equal('closed');
  });

  it('does not happen here: no breaker has a timer, whatever it goes through', () => {
    const timers: string[] = [];
    const hook = createHook({ init: (_id, type) => void (/Timeout|Immediate/.test(type) && timers.push(type)) });
    hook.enable();
    try {
      const breaker = new CircuitBreaker('target', { slowCallDuration: '1s', openDuration: 1, halfOpenTimeout: 1 });
      void breaker.call(async () => 1);
      openCircuit(breaker);
      breaker.reset();
      breaker.forceOpen();
      start(new CircuitBreaker('another'), 3);
    } finally {
      hook.disable();
    }
    expect(timers).to.deep.equal([]);
  });

  it('does not happen here: a listener that ends its registration is let go, as is a breaker that leaves its registry', () => {
    const registry = new CircuitBreakerRegistry();
    const breaker = registry.getOrCreate('target');
    let told = 0;
    for (let round = 0; round < 1_000; round++) breaker.onTransition(() => told++)();
    breaker.forceOpen();
    expect(told).to.equal(0);
    const heard: string[] = [];
    const hear = (what: string) => heard.push(what);
    registry.observe({
      onAdded: () => {},
      onRemoved: () => hear('removed'),
      onTransition: () => hear('transition'),
      onRejection: () => hear('rejection'),
    });
    registry.clear();
    breaker.tryAcquire();
    breaker.reset();
    expect(heard).to.deep.equal(['removed']);
  });

  it('does not happen here: a call has one verdict, the first', () => {
    const { breaker } = breakerWithClock();
    const call = breaker.acquire();
    call.failure(new Error('status 500'));
    call.failure(new Error('and then the body broke off'));
    call.success();
    call.timeout();
    call.ignore();
    const { calls, consecutiveFailures } = breaker.stats();
    expect(calls).to.deep.equal({ success: 0, failure: 1, ignored: 0, rejected: 0, inFlight: 0, oldestMs: null });
    expect(consecutiveFailures).to.equal(1);
  });

  it('does not happen here: an open circuit is not thrown away to make room', () => {
    const registry = new CircuitBreakerRegistry();
    const dead = registry.getOrCreate('dead');
    openCircuit(dead);
    for (let other = 0; other < 10_000; other++) registry.getOrCreate(`target ${other}`);
    expect(registry.get('dead')).to.equal(dead);
    expect(registry.hasOpenCircuits()).to.equal(true);
  });

  it('does not happen here: the error of an open circuit has no code that clients take for worth a retry', () => {
    const { breaker } = breakerWithClock();
    openCircuit(breaker);
    const error = rejectionOf(breaker);
    expect(error.code).to.equal('ERR_CIRCUIT_OPEN');
    expect(error).not.to.have.any.keys('errno', 'syscall', 'status', 'statusCode');
  });

  it('does not happen here: one call that times out ends no other', async () => {
    const { breaker } = breakerWithClock();
    const { signal } = new AbortController();
    let end!: (value: string) => void;
    const other = breaker.call(() => new Promise<string>((resolve) => (end = resolve)), signal);
    const timeout = new DOMException('too late', 'TimeoutError');
    await breaker.call(() => Promise.reject(timeout)).catch(() => undefined);
    expect(signal.aborted).to.equal(false);
    end('unharmed');
    expect(await other).to.equal('unharmed');
    expect(breaker.stats().calls).to.deep.include({ success: 1, failure: 1, inFlight: 0 });
  });
});
