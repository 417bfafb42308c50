import { expect } from 'chai';
import { simulate, type Fault, type Outcome, type Scenario } from './simulation.js';

const THRESHOLD = 5;
const OUTAGE: Pick<Scenario, 'diesAt' | 'recoversAt' | 'until'> = { diesAt: 15_000, recoversAt: 35_000, until: 45_000 };

function mean(runs: readonly Outcome[], of: (run: Outcome) => number): number {
  return runs.reduce((sum, run) => sum + of(run), 0) / runs.length;
}

function play(seeds: number, scenario: Scenario): Outcome[] {
  return Array.from({ length: seeds }, (_, seed) => simulate({ ...scenario, seed: seed + 1 }));
}

describe('A fleet, simulated', function () {
  this.timeout(60_000);

  for (const [replicas, rate, seeds] of [
    [10, 5, 20],
    [50, 5, 5],
    [200, 0.5, 3],
    [1_000, 2, 1],
  ] as const) {
    it(`of ${replicas} replicas with ${rate} calls a second each reaches its goals`, () => {
      const runs = play(seeds, { replicas, rate, fleet: true, ...OUTAGE, until: rate < 1 ? 60_000 : 45_000 });
      const begunWithin150Ms = replicas * rate * 0.15;
      expect(mean(runs, ({ failingCalls }) => failingCalls)).at.most(0.1 * replicas + THRESHOLD + begunWithin150Ms);
      expect(mean(runs, ({ allOpenAfter }) => allOpenAfter)).at.most(rate < 1 ? 500 : 250);
      expect(Math.max(...runs.map(({ probesPerOpening }) => probesPerOpening))).at.most(3);
      expect(Math.max(...runs.map(({ probesAtRecovery }) => probesAtRecovery))).at.most(20);
      expect(mean(runs, ({ commandsPerSecond }) => commandsPerSecond)).at.most(0.3);
      expect(Math.max(...runs.map(({ allClosedAfter }) => allClosedAfter))).below(rate < 1 ? 25_000 : 10_000);
    });
  }

  for (const [poisoned, replicas] of [
    [1, 50],
    [5, 50],
    [20, 200],
    [30, 60],
  ] as const) {
    it(`rejects no call of those who reach the target where ${poisoned} of ${replicas} cannot`, () => {
      for (const rate of [5, 0.5]) {
        for (const { wronglyRejected, healthyCalls } of play(2, {
          replicas,
          rate,
          fleet: true,
          poisoned,
          until: 60_000,
        })) {
          expect(healthyCalls).above(500);
          expect(wronglyRejected).equal(0);
        }
      }
    });
  }

  for (const fault of ['killed', 'stopped', 'slow', 'flushed'] satisfies Fault[]) {
    for (const [when, faultAt] of [
      ['before the outage', 14_000],
      ['within it', 20_000],
    ] as const) {
      it(`is never worse than none where the engine is ${fault} ${when}`, () => {
        const scenario = { replicas: 50, rate: 5, ...OUTAGE, until: 60_000 };
        const without = play(5, { ...scenario, fleet: false });
        const runs = play(5, { ...scenario, fleet: true, fault, faultAt });
        const compare = (of: (run: Outcome) => number) => [mean(runs, of), 1.05 * mean(without, of)] as const;
        const [failed, failedWithout] = compare((run) => run.failed);
        expect(failed, 'failed calls').at.most(failedWithout);
        const [closed, closedWithout] = compare((run) => run.allClosedAfter);
        // A second until it is noticed that nobody answers.
        expect(closed, 'time to recover').at.most(closedWithout + 1_500);
      });
    }
  }

  it('in mode observe changes nothing', () => {
    const scenario = { replicas: 20, rate: 5, ...OUTAGE };
    const without = mean(play(5, { ...scenario, fleet: false }), (run) => run.failed);
    const observed = mean(play(5, { ...scenario, fleet: true, mode: 'observe' }), (run) => run.failed);
    expect(observed).within(0.9 * without, 1.1 * without);
  });

  it('of replicas whose target flaps opens for all, and closes for all', () => {
    const [run] = play(1, { replicas: 50, rate: 5, fleet: true, ...OUTAGE, flaps: true, until: 60_000 });
    expect(run!.openings).above(0);
    expect(run!.allClosedAfter).below(15_000);
  });
});
