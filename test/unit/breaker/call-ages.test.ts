import { expect } from 'chai';
import { CallAges } from '../../../src/breaker/call-ages.js';
import { seededRandom } from '../../support/random.js';

describe('CallAges', () => {
  it('knows of no age where there is no call', () => {
    const ages = new CallAges();
    expect([ages.oldest(1_000), ages.olderThan(0, 1_000)]).to.deep.equal([null, 0]);
    ages.started(NaN);
    ages.ended(NaN);
    expect(ages.oldest(1_000)).to.equal(null);
  });

  it('knows the age of one call for as long as it goes on', () => {
    const ages = new CallAges();
    ages.started(5_000);
    expect(ages.oldest(5_000)).to.equal(0);
    expect(ages.oldest(3_605_000)).to.be.within(3_599_700, 3_600_000);
  });

  it('gives no age that is too high, and none that is lower than a quarter of the true one', () => {
    const random = seededRandom(7);
    const ages = new CallAges();
    const underWay: number[] = [];
    let now = 0;
    for (let step = 0; step < 100_000; step++) {
      now += random() * 200;
      // Some calls are as long as an outage, most are short.
      if (random() < 0.5 && underWay.length < 50) {
        ages.started(now);
        underWay.push(now);
      } else if (underWay.length > 0) {
        const at = random() < 0.05 ? 0 : Math.floor(underWay.length * (0.5 + random() / 2));
        ages.ended(underWay.splice(at, 1)[0]!);
      }
      const oldest = ages.oldest(now);
      if (underWay.length === 0) expect(oldest).to.equal(null);
      else {
        const truth = now - underWay[0]!;
        expect(oldest).to.be.within(Math.max(0, (truth - 500) / 4), truth);
        const older = underWay.filter((startedAt) => now - startedAt >= 10_000).length;
        expect(ages.olderThan(10_000, now)).to.be.at.most(older);
      }
    }
    while (underWay.length > 0) ages.ended(underWay.pop()!);
    expect(ages.oldest(now)).to.equal(null);
  });
});
