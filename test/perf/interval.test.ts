import { expect } from 'chai';
import { interval } from '../../bench/streams/interval.js';

describe('The interval of what was measured in several sets', () => {
  it('is that of the values in the middle', () => {
    const { mean, half } = interval([7, 1, 10, 4, 2, 9, 5, 3, 8, 6]);

    // 3 to 8, of which the lowest and the highest stand for two more each; 2.57 is Student's t for five degrees of freedom.
    expect(mean).to.equal(5.5);
    expect(half).to.be.closeTo(2.57 * Math.sqrt(42.5 / 30), 1e-9);
  });

  it('does not depend on how far off the worst sets are', () => {
    const calm = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    const disturbed = [-500, 2, 3, 4, 5, 6, 7, 8, 9, 1_000];

    expect(interval(disturbed)).to.deep.equal(interval(calm));
  });

  it('leaves none out of a few', () => {
    expect(interval([1, 2, 3, 6]).mean).to.equal(3);
  });

  it('is none of a single value', () => {
    expect(interval([4])).to.deep.equal({ mean: 4, half: NaN });
  });
});
