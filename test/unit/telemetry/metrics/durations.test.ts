import { expect } from 'chai';
import { CircuitBreaker } from '../../../../src/breaker/circuit-breaker.js';
import { DURATION_BOUNDS, Durations } from '../../../../src/telemetry/metrics/durations.js';

function handedOver(durations: Durations): number[] {
  const seconds: number[] = [];
  durations.handOver((value) => seconds.push(value));
  return seconds;
}

/** Which bucket a histogram with our bounds would put a value in. */
function bucketOf(seconds: number): number {
  const bucket = DURATION_BOUNDS.findIndex((bound) => seconds <= bound);
  return bucket === -1 ? DURATION_BOUNDS.length : bucket;
}

function neverFull(): Durations {
  return new Durations(new CircuitBreaker('target'), () => undefined);
}

describe('Durations', () => {
  it('have the promised bounds', () => {
    expect(DURATION_BOUNDS).to.deep.equal([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]);
  });

  it('hand over each call once, in seconds', () => {
    const durations = neverFull();
    expect(handedOver(durations)).to.deep.equal([]);
    durations.record(20);
    durations.record(3_000);
    expect(handedOver(durations)).to.deep.equal([0.02, 3]);
    expect(handedOver(durations)).to.deep.equal([]);
    durations.record(7);
    expect(handedOver(durations)).to.deep.equal([0.007]);
  });

  it('hand over every value in its bucket, bounds and what is next to them included', () => {
    for (const bound of DURATION_BOUNDS) {
      for (const ms of [bound * 1_000 - 1e-6, bound * 1_000, bound * 1_000 + 1e-6]) {
        const durations = neverFull();
        for (let round = 1; round <= 20; round++) {
          for (let call = 0; call < 7; call++) durations.record(ms);
          const values = handedOver(durations);
          expect(values).to.have.length(7);
          for (const value of values) expect(bucketOf(value), `${ms} ms`).to.equal(bucketOf(ms / 1_000));
        }
      }
    }
  });

  it('keep the sum over all', () => {
    const durations = neverFull();
    let sum = 0;
    for (let call = 1; call <= 200; call++) {
      durations.record(call * 1.7);
      sum += call * 1.7;
    }
    const handed = handedOver(durations).reduce((a, b) => a + b, 0);
    expect(handed).to.be.closeTo(sum / 1_000, 1e-9);
  });

  it('tell how many there were of each length in all, handed over or not', () => {
    const durations = neverFull();
    expect(durations.totals()).to.equal(undefined);
    for (const ms of [1, 90_000]) durations.record(ms);
    handedOver(durations);
    durations.record(3);
    const counts = Array<number>(15).fill(0);
    counts[0] = counts[1] = counts[14] = 1;
    for (let time = 0; time < 2; time++) expect(durations.totals()).to.deep.equal({ counts, sum: 90.004 });
  });

  it('say when there are enough to hand over', () => {
    let full = 0;
    const durations: Durations = new Durations(new CircuitBreaker('target'), (self) => {
      full++;
      expect(self).to.equal(durations);
      expect(handedOver(self)).to.have.length(256);
    });
    for (let call = 0; call < 600; call++) durations.record(1);
    expect(full).to.equal(2);
    expect(handedOver(durations)).to.have.length(88);
  });

  it('begin again for a receiver that has heard of none', () => {
    const durations = neverFull();
    durations.replay();
    durations.record(20);
    handedOver(durations);
    durations.record(3_000);
    for (let receiver = 0; receiver < 3; receiver++) {
      durations.replay();
      expect(handedOver(durations)).to.deep.equal([0.02, 3]);
    }
  });

  it('do not hold the process up with more than a hundred thousand from before', () => {
    for (const heardBefore of [true, false]) {
      const durations = neverFull();
      for (let call = 0; call < 100_001; call++) durations.record(1);
      if (heardBefore) expect(handedOver(durations)).to.have.length(100_001);
      durations.replay();
      expect(handedOver(durations)).to.deep.equal([]);
      durations.record(2_000);
      expect(handedOver(durations)).to.deep.equal([2]);
    }
  });
});
