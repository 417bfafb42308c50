import { expect } from 'chai';
import { NO_EVIDENCE, Patience, RATE_ONLY, TIMED_OUT } from '../../../src/breaker/patience.js';
import { NaivePatience } from '../../support/naive-patience.js';
import { Random } from '../../support/random.js';

const AFTER = 1_000;
const MINUTE = 60_000;

describe('Patience', () => {
  let patience: Patience;
  let now: number;

  beforeEach(() => {
    patience = new Patience();
    now = 1_000_000;
  });

  /** A good answer that took so long. */
  function answer(took: number): void {
    now += took;
    patience.answered(now - took, now);
  }

  /** A call whose caller left after so long. */
  function abandon(waited: number): number {
    now += waited;
    return patience.abandoned(now - waited, now, AFTER);
  }

  it('takes a caller that left early for one with reasons of its own', () => {
    expect(abandon(999)).to.equal(NO_EVIDENCE);
    expect(abandon(1_000)).to.equal(TIMED_OUT);
  });

  it('knows nothing of a call whose start is not known', () => {
    expect(patience.abandoned(NaN, now, AFTER)).to.equal(NO_EVIDENCE);
    patience.answered(NaN, now);
    expect(patience.slowest).to.equal(-1);
    expect(abandon(1_500)).to.equal(TIMED_OUT);
  });

  it('takes whoever leaves for one with reasons of its own where abandonedAfter is Infinity', () => {
    expect(patience.abandoned(now - MINUTE, now, Infinity)).to.equal(NO_EVIDENCE);
  });

  it('expects a caller to wait for as long as the slowest good answer took', () => {
    answer(4_000);
    answer(20);
    expect(patience.slowest).to.equal(4_000);
    expect(abandon(4_000)).to.equal(NO_EVIDENCE);
    expect(abandon(4_001)).to.equal(TIMED_OUT);
  });

  it('remembers a slow answer for five minutes at least and for ten at most', () => {
    answer(4_000);
    now += 5 * MINUTE - 1;
    answer(0);
    expect(patience.slowest).to.equal(4_000);
    now += 1;
    answer(20);
    expect(patience.slowest).to.equal(4_000);
    now += 5 * MINUTE;
    answer(30);
    expect(patience.slowest).to.equal(30);
  });

  it('forgets nothing while the target is silent', () => {
    answer(4_000);
    now += 60 * MINUTE;
    expect(abandon(3_000)).to.equal(NO_EVIDENCE);
    expect(patience.slowest).to.equal(4_000);
    answer(20);
    expect(patience.slowest).to.equal(4_000);
  });

  it('lets one slow answer hide a dead target for ten times as long as somebody waits', () => {
    answer(30_000);
    for (let call = 0; call < 150; call++) {
      expect(abandon(2_000)).to.equal(NO_EVIDENCE);
      now += MINUTE;
    }
    expect(abandon(2_000)).to.equal(TIMED_OUT);
    answer(30_000);
    expect(abandon(2_000)).to.equal(NO_EVIDENCE);
  });

  it('counts the time once in which several wait', () => {
    answer(30_000);
    const startedAt = now;
    now += 299_000;
    for (let call = 0; call < 10; call++) patience.waited(startedAt, now);
    expect(patience.abandoned(now - 2_000, now, AFTER)).to.equal(NO_EVIDENCE);
    now += 2_000;
    expect(patience.abandoned(now - 2_000, now, AFTER)).to.equal(TIMED_OUT);
  });

  it('leaves a target that answers others to the rate, if the caller waited far longer than they did', () => {
    answer(500);
    const startedAt = now;
    answer(400);
    now = startedAt + 1_499;
    expect(patience.abandoned(startedAt, now, AFTER)).to.equal(NO_EVIDENCE);
    now = startedAt + 1_500;
    expect(patience.abandoned(startedAt, now, AFTER)).to.equal(RATE_ONLY);
  });

  it('takes callers that leave together for one piece of evidence', () => {
    answer(900);
    const startedAt = now;
    now += 2_000;
    const leaveTogether = () => [0, 5, 19, 20, 39, 40].map((ms) => patience.abandoned(startedAt, now + ms, AFTER));
    expect(leaveTogether()).to.deep.equal([TIMED_OUT, NO_EVIDENCE, NO_EVIDENCE, TIMED_OUT, NO_EVIDENCE, TIMED_OUT]);
  });

  it('takes each of them for itself where they waited far longer than any good answer took', () => {
    answer(500);
    const startedAt = now;
    now += 2_000;
    for (let call = 0; call < 5; call++) expect(patience.abandoned(startedAt, now, AFTER)).to.equal(TIMED_OUT);
  });

  it('takes them for one piece of evidence where no good answer is known', () => {
    const startedAt = now;
    now += 60_000;
    expect(patience.abandoned(startedAt, now, AFTER)).to.equal(TIMED_OUT);
    expect(patience.abandoned(startedAt, now, AFTER)).to.equal(NO_EVIDENCE);
  });

  it('gives a target time to start, as long as somebody waits', () => {
    expect(patience.mayBeStarting(AFTER)).to.equal(true);
    now += 60 * MINUTE;
    expect(patience.mayBeStarting(AFTER)).to.equal(true);
    abandon(4_999);
    expect(patience.mayBeStarting(AFTER)).to.equal(true);
    now += 60 * MINUTE;
    abandon(1);
    expect(patience.mayBeStarting(AFTER)).to.equal(false);
  });

  it('gives no such time to one that has answered before', () => {
    answer(20);
    expect(patience.mayBeStarting(AFTER)).to.equal(false);
  });

  it('says what its naive model says, also of callers that come and leave at one moment', () => {
    const said = { nothing: NO_EVIDENCE, 'rate only': RATE_ONLY, timeout: TIMED_OUT } as const;
    for (let seed = 0; seed < 200; seed++) {
      const random = new Random(seed);
      const [own, model] = [new Patience(), new NaivePatience()];
      for (let step = 0; step < 300; step++) {
        now += random.pick([0, 0, 1, 5, 30]);
        const startedAt = now - random.pick([0, 0, 3, 10, 40]);
        const dice = random.next();
        if (dice < 0.1) {
          own.answered(startedAt, now);
          model.answered(startedAt, now);
        } else if (dice < 0.6) {
          own.waited(startedAt, now);
          model.waited(startedAt, now);
        } else {
          model.waited(startedAt, now);
          expect(own.abandoned(startedAt, now, 10)).to.equal(said[model.judge(startedAt, now, 10)]);
        }
        expect(own.mayBeStarting(10)).to.equal(model.mayBeStarting(10));
      }
    }
  });
});
