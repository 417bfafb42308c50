import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import { describeHangingCalls } from '../../../src/telemetry/hanging-calls.js';
import { start } from '../../support/breakers.js';
import { FakeClock } from '../../support/clock.js';

const MINUTE = 60_000;

describe('Calls that hang and that nobody gives up', () => {
  let clock: FakeClock;
  let told: number[];

  beforeEach(() => {
    clock = new FakeClock();
    told = [];
  });

  function breakerOf(options?: BreakerOptions): CircuitBreaker {
    const breaker = new CircuitBreaker('target', { minimumCalls: 10, ...options }, clock);
    breaker.timeCalls();
    breaker.observer = {
      onTransition: () => {},
      onRejection: () => {},
      onHangingCalls: (_, calls) => told.push(calls),
    };
    return breaker;
  }

  it('are told of with the next call, once an hour', () => {
    const breaker = breakerOf();
    start(breaker, 12);
    clock.advance(MINUTE - 1);
    breaker.acquire().success();
    expect(told).to.deep.equal([]);
    clock.advance(1_000);
    breaker.acquire().success();
    expect(told).to.deep.equal([12]);
    clock.advance(59 * MINUTE);
    breaker.acquire().success();
    expect(told).to.deep.equal([12]);
    clock.advance(MINUTE);
    breaker.acquire().success();
    expect(told).to.deep.equal([12, 12]);
  });

  it('are told of with a scrape where no further call comes', () => {
    const breaker = breakerOf();
    start(breaker, 10);
    clock.advance(2 * MINUTE);
    breaker.tellOfHangingCalls();
    breaker.tellOfHangingCalls();
    expect(told).to.deep.equal([10]);
  });

  it('are not told of below minimumCalls, nor once they have ended', () => {
    const breaker = breakerOf();
    const calls = start(breaker, 10);
    calls[0]!.success();
    clock.advance(2 * MINUTE);
    breaker.tellOfHangingCalls();
    expect(told).to.deep.equal([]);
  });

  it('are not taken for answers that go on: streams of events, downloads', () => {
    const breaker = breakerOf();
    const calls = start(breaker, 12);
    for (const call of calls) call.answered();
    clock.advance(2 * MINUTE);
    breaker.tellOfHangingCalls();
    expect(told).to.deep.equal([]);
    for (const call of calls) call.success();
    start(breaker, 10);
    clock.advance(2 * MINUTE);
    breaker.tellOfHangingCalls();
    expect(told).to.deep.equal([10]);
  });

  it('are not told of where a rule says how long is too long, nor where they take long by design', () => {
    const breaker = breakerOf({ slowCallDuration: '5m' });
    start(breaker, 12);
    const blocking = breakerOf();
    for (let call = 0; call < 12; call++) blocking.tryAcquire(undefined, true);
    clock.advance(2 * MINUTE);
    breaker.tellOfHangingCalls();
    blocking.tellOfHangingCalls();
    expect(told).to.deep.equal([]);
  });

  it('are told of with the rule to write', () => {
    const breaker = new CircuitBreaker('https://api.example.com');
    expect(describeHangingCalls(breaker, 12)).to.equal(
      '12 or more calls to https://api.example.com have waited for a minute and nobody has given them up, so its circuit ' +
        'stays as it is. To open it when half of the calls take too long, give the breaker the option slowCallDuration: 30s',
    );
    breaker.labels = { system: 'http', server_address: 'api.example.com', server_port: 443 };
    expect(describeHangingCalls(breaker, 12)).to.match(
      / write the rule "- \{ match: \{ system: http, host: "api\.example\.com", port: 443 \}, slowCallDuration: 30s \}"$/,
    );
  });
});
