import { expect } from 'chai';
import { MAX_PROBES, type Tick } from '../../src/console/api.js';
import { TransitionLog } from '../../src/console/history/transition-log.js';
import { EMPTY, reduce } from '../../src/console/live-store.js';
import { viewTransition } from '../../src/console/serialize.js';
import { breakerWithClock, openCircuit, waitUntilProbe } from '../support/breakers.js';

describe('the changes that the console remembers', () => {
  it('tell why a circuit opened, however many probes have failed since', () => {
    const log = new TransitionLog();
    const { breaker, clock } = breakerWithClock();
    breaker.onTransition((transition) => log.record(breaker, transition, undefined));
    openCircuit(breaker);
    for (let probe = 0; probe < 2 * MAX_PROBES; probe++) {
      waitUntilProbe(breaker, clock);
      breaker.acquire().failure(new Error('still down'));
    }
    const changes = log.latest();
    expect(changes).to.have.length(1 + MAX_PROBES);
    expect(changes.at(-1)!.reason).to.equal('5 consecutive failures (threshold 5)');
    expect(changes.map(({ sequence }) => sequence)).to.deep.equal(
      changes.map(({ sequence }) => sequence).sort((a, b) => b - a),
    );
    expect(log.latest(breaker).at(-1)).to.equal(changes.at(-1));

    // And a page that has been open all along.
    const tick = { now: new Date().toISOString(), changed: [], removed: [], traces: [] } as unknown as Tick;
    const [opening, ...probes] = changes.map(viewTransition).reverse();
    const later = probes.map((probe) => ({ ...probe, sequence: probe.sequence + 1_000 }));
    const state = [opening!, ...probes, ...later].reduce(
      (before, change) => reduce(before, { kind: 'tick', data: { ...tick, transitions: [change] } }),
      EMPTY,
    );
    expect(state.transitions).to.have.length(1 + MAX_PROBES);
    expect(state.transitions.at(-1)).to.equal(opening);
  });
});
