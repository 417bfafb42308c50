import { expect } from 'chai';
import { stopApps } from '../support/app.js';
import { stopServers } from '../support/servers.js';
import { growth, soak, soakUnderAttack } from './soak.js';

describe('soak, in short', () => {
  afterEach(async () => {
    await stopApps();
    await stopServers();
  });

  it('counts what callers lived through while the port is attacked and the rules are written anew', async function () {
    this.timeout(0);
    // That counts are right is judged by the process itself.
    const { systems, attacks, writes, faults } = await soakUnderAttack(8, 3);
    for (const [what, count] of Object.entries({ attacks, writes, faults })) expect(count, what).to.be.greaterThan(0);
    const { http, ...databases } = systems;
    for (const [what, count] of Object.entries(http.seen)) expect(count, what).to.be.greaterThan(0);
    expect(http.counted.transitions).to.be.greaterThan(3);
    // Commands of Redis wait while its circuit is open: whether any is rejected within some seconds is a matter of chance.
    for (const [system, { seen }] of Object.entries(databases)) {
      const { answered, failed, left } = seen;
      expect(answered, system).to.be.greaterThan(0);
      expect(failed + left, system).to.be.greaterThan(0);
    }
  });

  it('leaves heap and handles as they were, and every call counted once', async function () {
    this.timeout(0);
    // That counts are right is judged by the process itself, at ten points on the way.
    const { breakers, real } = await soak(50_000, 4_000, 1);
    for (const stretch of [breakers, real]) {
      expect(growth(stretch)).to.be.below(2_000_000);
      const [first, ...others] = stretch.checkpoints.map(({ handles }) => handles.join());
      for (const handles of others) expect(handles).to.equal(first);
      // Circuits have opened, probed and closed.
      expect(stretch.transitions).to.be.greaterThan(3);
      expect(stretch.rejected).to.be.greaterThan(0);
    }
  });
});
