import { expect } from 'chai';
import { inspect } from 'node:util';
import { CircuitOpenError, findCircuitOpenError, isCircuitOpenError } from '../../../src/breaker/errors.js';
import { breakerWithClock, rejectionOf, startProbe } from '../../support/breakers.js';

describe('CircuitOpenError', () => {
  it('says which circuit is open, why and for how long, with the failure that opened it as its cause', () => {
    const { breaker, clock } = breakerWithClock({ failureThreshold: 2, openDuration: '30s' });
    const [first, second] = [new Error('first'), new Error('second')];
    breaker.acquire().failure(first);
    breaker.acquire().failure(second);
    clock.advance(1_500);
    const error = rejectionOf(breaker);
    expect(error).to.be.instanceOf(Error);
    expect(error).to.include({
      name: 'CircuitOpenError',
      code: 'ERR_CIRCUIT_OPEN',
      breaker: 'target',
      state: 'open',
      retryAfterMs: 28_500,
      openedByCode: undefined,
      message: 'Circuit "target" is open: 2 consecutive failures (threshold 2); next attempt in 28.5 s',
    });
    expect(error.cause).to.be.instanceOf(Error).and.include({ name: 'Error', message: 'second' });
  });

  it('keeps its cause while half-open', () => {
    const { breaker, clock } = breakerWithClock({ halfOpenMaxCalls: 1 });
    startProbe(breaker, clock);
    expect((rejectionOf(breaker).cause as Error).message).to.equal('failure 1');
  });

  it('carries no stack and leaves stacks of others alone', () => {
    const { breaker } = breakerWithClock();
    breaker.forceOpen();
    const limit = Error.stackTraceLimit;
    expect(rejectionOf(breaker).stack).not.to.contain('\n');
    expect(Error.stackTraceLimit).to.equal(limit);
  });

  it('is made where stacks cannot be limited, as under --frozen-intrinsics', () => {
    const { breaker } = breakerWithClock({ failureThreshold: 1 });
    breaker.acquire().failure(new TypeError('down'));
    const limit = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')!;
    Object.defineProperty(Error, 'stackTraceLimit', { ...limit, writable: false });
    try {
      expect(rejectionOf(breaker).cause).to.include({ name: 'TypeError', message: 'down' });
    } finally {
      Object.defineProperty(Error, 'stackTraceLimit', limit);
    }
  });

  it('has only what it says among its own properties', () => {
    const { breaker } = breakerWithClock();
    breaker.forceOpen();
    expect(Object.keys(rejectionOf(breaker))).to.have.members([
      'code',
      'breaker',
      'state',
      'retryAfterMs',
      'openedByCode',
    ]);
    expect(inspect(rejectionOf(breaker))).to.match(/^\[?CircuitOpenError: Circuit "target" is open/);
  });
});

describe('isCircuitOpenError', () => {
  const rejection = new CircuitOpenError('target', 'open', 1, 'reason', undefined);

  it('finds one itself and along cause', () => {
    expect(isCircuitOpenError(rejection)).to.equal(true);
    expect(isCircuitOpenError(new Error('outer', { cause: new Error('inner', { cause: rejection }) }))).to.equal(true);
  });

  it('knows one of another copy of this package', () => {
    expect(isCircuitOpenError(Object.assign(new Error(), { code: 'ERR_CIRCUIT_OPEN' }))).to.equal(true);
  });

  it('finds one among the errors that an AggregateError stands for, at any depth', () => {
    const parts = new AggregateError([new Error('other'), new Error('outer', { cause: rejection })]);
    expect(isCircuitOpenError(parts)).to.equal(true);
    expect(findCircuitOpenError(new Error('all failed', { cause: new AggregateError([parts]) }))).to.equal(rejection);
  });

  it('comes to an end where errors are parts of each other, and where one cannot be read', () => {
    const knot = new AggregateError(Array.from({ length: 20 }, () => new Error('part')));
    knot.errors.fill(knot);
    const hostile = Object.defineProperty(new Error('hostile'), 'code', {
      get() {
        throw new Error('a getter that throws');
      },
    });
    expect([knot, hostile].map(isCircuitOpenError)).to.deep.equal([false, false]);
  });

  it('finds none where there is none', () => {
    const loop = new Error('loop');
    loop.cause = loop;
    for (const other of [new Error('other'), loop, null, undefined, 'ERR_CIRCUIT_OPEN', 5, {}]) {
      expect(isCircuitOpenError(other)).to.equal(false);
    }
  });
});
