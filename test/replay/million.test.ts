import { expect } from 'chai';
import { replayMany } from './million.js';

describe('a replay of many spans', () => {
  it('takes memory for what waits to be sorted, and not for the file: a twentieth of npm run replay:million', async function () {
    this.timeout(120_000);
    const { report, bytes, maxRss } = await replayMany(50_000);
    const { breakers } = report.rules[0]!;
    expect(report.calls).to.equal(50_000);
    expect(breakers).to.have.length(20);
    expect(breakers.filter(({ opened }) => opened > 0)).to.have.length.of.at.least(15);
    expect(bytes).to.be.greaterThan(20e6);
    expect(maxRss).to.be.below(300e6);
  });
});
