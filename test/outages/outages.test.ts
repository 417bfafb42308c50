import { expect } from 'chai';
import { runOutage } from './outage.js';
import { ROWS } from './rows.js';

const OUTAGES_MS = [500, 1_500];

// For clients that lose calls in any case: so many more, and a few on top.
const FACTOR = 1.3;
const ON_TOP = 20;

// Other processes of the machine make an event loop late, too; one that stands still does so for as long as the outage.
const BUSY_MACHINE_MS = 1_000;
const BUSY_MACHINE_CPU = 0.4;

describe('a short outage, with the defaults', function () {
  this.timeout(60_000);

  for (const { title, client, service, patterns, failsWithout = true } of ROWS.filter(({ inTests }) => inTests)) {
    for (const awayMs of OUTAGES_MS) {
      it(`costs callers of ${title} no more than without us when the server is away for ${awayMs / 1_000} s`, async () => {
        const runs = patterns.map(async (pattern) => {
          const outage = { client, pattern, awayMs, service };
          const [seen, without] = await Promise.all([
            runOutage({ ...outage, preload: true }),
            failsWithout ? runOutage({ ...outage, preload: false }) : { failed: 0 },
          ]);
          expect(seen.alive, `${pattern}: ${seen.said}`).to.equal(true);
          expect(seen.calls, pattern).to.be.greaterThan(0);
          expect(seen.failed, `${pattern}: ${seen.said}`).to.be.at.most(FACTOR * without.failed + ON_TOP);
          expect(seen.lastFailureMs, pattern).to.be.at.most(1_000);
          expect(seen.blockedMs, pattern).to.be.at.most(BUSY_MACHINE_MS);
          expect(seen.cpu, pattern).to.be.at.most(BUSY_MACHINE_CPU);
        });
        await Promise.all(runs);
      });
    }
  }
});
