import { expect } from 'chai';
import { SlidingWindow } from '../../../src/breaker/window.js';
import { seededRandom } from '../../support/random.js';

function contents({ calls, failures, slow }: SlidingWindow): number[] {
  return [calls, failures, slow];
}

describe('SlidingWindow', () => {
  it('counts calls, failures and slow calls', () => {
    const window = new SlidingWindow(1_000, 0);
    window.record(0, true, false);
    window.record(10, false, true);
    window.record(999, true, true);
    expect(contents(window)).to.deep.equal([3, 2, 2]);
  });

  it('forgets what is older than its length, and nothing younger than nine tenths of it', () => {
    const window = new SlidingWindow(1_000, 0);
    window.record(50, true, true);
    window.record(150, false, false);
    window.rotate(999);
    expect(window.calls).to.equal(2);
    window.rotate(1_000);
    expect(contents(window)).to.deep.equal([1, 0, 0]);
    window.rotate(1_100);
    expect(contents(window)).to.deep.equal([0, 0, 0]);
  });

  for (const idle of [1_000, 1_001, 5_000, 12_345, 300_000, 1e12]) {
    it(`is empty after ${idle} ms in which nobody looked`, () => {
      const window = new SlidingWindow(1_000, 7);
      for (let call = 0; call < 20; call++) window.record(7 + call, true, true);
      window.rotate(7 + 19 + idle);
      expect(contents(window)).to.deep.equal([0, 0, 0]);
      window.record(7 + 19 + idle, true, false);
      expect(contents(window)).to.deep.equal([1, 1, 0]);
    });
  }

  it('takes a clock that stands still or has been set back for no time passed', () => {
    const window = new SlidingWindow(1_000, 5_000);
    window.record(5_000, true, false);
    window.record(4_000, true, false);
    expect(contents(window)).to.deep.equal([2, 2, 0]);
  });

  it('is empty once cleared', () => {
    const window = new SlidingWindow(1_000, 0);
    window.record(0, true, true);
    window.clear();
    expect(contents(window)).to.deep.equal([0, 0, 0]);
    window.rotate(1_000);
    expect(contents(window)).to.deep.equal([0, 0, 0]);
  });

  it('agrees with a list of calls through a long random life', () => {
    const random = seededRandom(5);
    const window = new SlidingWindow(700, 0);
    const calls: { tenth: number; failed: boolean; slow: boolean }[] = [];
    let now = 0;
    for (let step = 0; step < 20_000; step++) {
      now += random() < 0.01 ? random() * 3_000 : random() * 20;
      const call = { tenth: Math.floor(now / 70), failed: random() < 0.4, slow: random() < 0.2 };
      window.record(now, call.failed, call.slow);
      calls.push(call);
      const recent = calls.slice(-1_000).filter(({ tenth }) => tenth > call.tenth - 10);
      const expected = [recent.length, recent.filter((c) => c.failed).length, recent.filter((c) => c.slow).length];
      expect(contents(window)).to.deep.equal(expected);
    }
  });
});
