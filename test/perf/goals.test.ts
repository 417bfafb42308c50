import { expect } from 'chai';
import { judge } from '../../bench/goals.js';

// Without these a bench on a busy machine would excuse whatever it cannot measure.
describe('A goal of the benchmark', () => {
  const goal = (reached: number, floor: number, half: number) =>
    judge({ what: 'µs', limit: 1, reached: { mean: reached, half }, floor: { mean: floor, half } });

  it('is met up to its limit, and at its floor up to a tenth above that', () => {
    expect(judge({ what: '÷', reached: 1, limit: 1 })).to.equal('met');
    expect(judge({ what: '÷', reached: 1.01, limit: 1 })).to.equal('not met');
    expect(judge({ what: '÷', reached: 2.2, limit: 1, floor: 2 })).to.equal('at its floor');
    expect(judge({ what: '÷', reached: 2.21, limit: 1, floor: 2 })).to.equal('not met');
  });

  it('is not at its floor where the interval is as wide as the goal, nor where it only might be', () => {
    expect(goal(2.2, 2, 0.9)).to.equal('at its floor');
    expect(goal(2.2, 2, 1)).to.equal('not met');
    expect(goal(2.3, 2, 0.9)).to.equal('not met');
    expect(goal(1.1, -0.2, 0.1)).to.equal('not met');
  });

  it('is no different from a measured limit where that is told exactly enough, and no more exactly', () => {
    const beside = (reached: number, half: number) =>
      judge({ what: 'µs', limit: { mean: 1, half: 0.3 }, toTell: 0.8, reached: { mean: reached, half } });
    expect(beside(1, 0.4)).to.equal('met');
    expect(beside(1.5, 0.4)).to.equal('no difference');
    expect(beside(1.51, 0.4)).to.equal('not met');
    expect(beside(1.5, 0.8)).to.equal('not met');
  });
});
