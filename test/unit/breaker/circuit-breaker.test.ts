import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { openCircuit, succeed } from '../../support/breakers.js';
import { FakeClock } from '../../support/clock.js';

describe('CircuitBreaker', () => {
  it('opens after failureThreshold failures in a row and closes after successThreshold probes', () => {
    const clock = new FakeClock();
    const breaker = new CircuitBreaker('target', { failureThreshold: 3, openDuration: 100 }, clock);
    openCircuit(breaker);
    expect(breaker.state).to.equal('open');
    expect(() => breaker.acquire()).to.throw('Circuit "target" is open: 3 consecutive failures (threshold 3)');
    clock.advance(100);
    succeed(breaker);
    expect(breaker.state).to.equal('half_open');
    succeed(breaker);
    expect(breaker.state).to.equal('closed');
  });
});
