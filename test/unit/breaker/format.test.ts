import { expect } from 'chai';
import { formatSeconds } from '../../../src/breaker/format.js';

describe('formatSeconds', () => {
  it('writes durations for people', () => {
    expect([0.2, 999, 1_000, 1_500, 90_000].map(formatSeconds)).to.deep.equal([
      '1 ms',
      '999 ms',
      '1 s',
      '1.5 s',
      '90 s',
    ]);
  });
});
