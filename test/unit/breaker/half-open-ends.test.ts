import { expect } from 'chai';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import type { Permit } from '../../../src/breaker/permit.js';
import { breakerWithClock, openCircuit, waitUntilProbe } from '../../support/breakers.js';
import { seededRandom } from '../../support/random.js';

// A good answer that goes on counts after a second.
const GOOD_ANSWER_MS = 1_000;

/** What becomes of a call to a target that is well: when its good headers come, when it ends, and how. */
interface Life {
  readonly headersMs?: number;
  /** Infinity for a stream that never ends. */
  readonly endsMs: number;
  /** `succeeds` or `left` once there are good headers; `given up` before. */
  readonly end: 'succeeds' | 'left' | 'given up';
}

const LIVES: Readonly<Record<string, (chance: () => number) => Life>> = {
  'that are answered': (chance) => ({ endsMs: 1 + chance() * 200, end: 'succeeds' }),
  'that take longer than halfOpenTimeout': (chance) => ({ endsMs: 40_000 + chance() * 60_000, end: 'succeeds' }),
  'with a long body': (chance) => ({ headersMs: 50, endsMs: 500 + chance() * 90_000, end: 'succeeds' }),
  'that are streams without an end': () => ({ headersMs: 20, endsMs: Infinity, end: 'succeeds' }),
  'whose callers leave when they know the status': (chance) => ({
    headersMs: 20,
    endsMs: 21 + chance() * 50,
    end: 'left',
  }),
  'that are given up at once by every other caller': (chance) =>
    chance() < 0.5 ? { endsMs: 5, end: 'given up' } : { endsMs: 30, end: 'succeeds' },
};

const OPTIONS: Readonly<Record<string, BreakerOptions>> = {
  'one probe at a time': { halfOpenMaxCalls: 1, successThreshold: 1 },
  'one probe at a time, of which three must succeed': { halfOpenMaxCalls: 1, successThreshold: 3 },
  'the preset httpApi': { preset: 'httpApi' },
  'the preset llmService': { preset: 'llmService' },
  'the preset database': { preset: 'database' },
  'many probes': { halfOpenMaxCalls: 20, successThreshold: 10 },
};

describe('on a target that is well and called', () => {
  for (const [calls, lifeOf] of Object.entries(LIVES)) {
    for (const [config, options] of Object.entries(OPTIONS)) {
      it(`half-open ends when successThreshold calls begun in it were answered: calls ${calls}, ${config}`, () => {
        for (const everyMs of [5, 200, 1_000]) {
          const { inTime, answered } = halfOpen(options, everyMs, lifeOf, seededRandom(everyMs));
          expect(inTime, `a call each ${everyMs} ms`).to.equal(true);
          expect(answered).to.be.at.least(1);
        }
      });
    }
  }
});

/** Calls until half-open ends. @returns whether it ended with the first call that could know it had to */
function halfOpen(
  options: BreakerOptions,
  everyMs: number,
  lifeOf: (chance: () => number) => Life,
  chance: () => number,
) {
  const { breaker, clock } = breakerWithClock(options);
  breaker.timeCalls();
  openCircuit(breaker);
  waitUntilProbe(breaker, clock);
  const { successThreshold } = breaker.config;
  const underWay: { readonly permit: Permit; readonly life: Life; readonly startedAt: number; told: boolean }[] = [];
  let ended = 0;
  const begun = clock.now();
  for (;;) {
    const admission = breaker.tryAcquire();
    const streams = underWay.filter(
      ({ life: { headersMs }, startedAt }) =>
        headersMs !== undefined && clock.now() - startedAt >= Math.ceil(headersMs) + GOOD_ANSWER_MS,
    );
    const answered = ended + streams.length;
    if (breaker.state === 'closed') return { inTime: true, answered };
    // Nobody can know of the calls that are under way.
    if (answered >= Number(successThreshold) || clock.now() - begun > 3_600_000) return { inTime: false, answered };
    if (!(admission instanceof CircuitOpenError)) {
      underWay.push({ permit: admission, life: lifeOf(chance), startedAt: clock.now(), told: false });
    }
    for (let ms = 0; ms < everyMs; ms++) {
      clock.advance(1);
      for (const call of [...underWay]) {
        const { permit, life, startedAt } = call;
        const age = clock.now() - startedAt;
        if (life.headersMs !== undefined && age >= life.headersMs && !call.told) {
          call.told = true;
          permit.answered();
        }
        if (age < life.endsMs) continue;
        underWay.splice(underWay.indexOf(call), 1);
        if (life.end === 'succeeds') permit.success();
        else permit.abandon();
        if (life.end !== 'given up') ended++;
      }
    }
  }
}
