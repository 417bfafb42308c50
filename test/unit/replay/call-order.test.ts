import { expect } from 'chai';
import { CallOrder, MAX_LATE_MS } from '../../../src/replay/call-order.js';
import { Random } from '../../support/random.js';

describe('CallOrder', () => {
  it('gives calls in the order of their start, and those with the same start in the order in which they came', () => {
    const random = new Random(5);
    const starts = Array.from({ length: 5_000 }, () => random.below(400_000));
    const given: [start: number, target: number][] = [];
    const order = new CallOrder((start, _duration, target) => given.push([start, target]));
    const arriving = starts.map((start) => ({ start, at: start + random.below(MAX_LATE_MS / 2) }));
    for (const [index, { start }] of arriving.toSorted((a, b) => a.at - b.at).entries()) {
      order.add(start, 1, index, 0, false);
    }
    order.end();
    expect(given).to.have.length(starts.length);
    expect(given).to.deep.equal(given.toSorted(([a, x], [b, y]) => a - b || x - y));
  });

  it('hands each call on as it came', () => {
    const given: unknown[] = [];
    const order = new CallOrder((...call) => given.push(call));
    order.add(2, 20, 3, 40_000, true);
    order.add(1.5, 0.25, 70_000, 0, false);
    order.end();
    expect(given).to.deep.equal([
      [1.5, 0.25, 70_000, 0, false],
      [2, 20, 3, 40_000, true],
    ]);
  });

  it('takes what comes within five minutes of later ones, and nothing that comes later', () => {
    const given: number[] = [];
    const order = new CallOrder((start) => given.push(start));
    expect(order.add(1_000_000, 1, 0, 0, false)).to.equal(true);
    expect(order.add(1_000_000 - MAX_LATE_MS, 1, 0, 0, false)).to.equal(true);
    expect(order.add(1_000_000 - MAX_LATE_MS - 10_001, 1, 0, 0, false)).to.equal(false);
    order.end();
    expect(given).to.deep.equal([1_000_000 - MAX_LATE_MS, 1_000_000]);
  });

  it('holds no more than five minutes', () => {
    let given = 0;
    const order = new CallOrder(() => given++);
    for (let second = 0; second < 3_600; second++) order.add(second * 1_000, 1, 0, 0, false);
    expect(3_600 - given).to.be.within(300, 320);
  });
});
