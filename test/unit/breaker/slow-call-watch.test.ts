import { expect } from 'chai';
import { SlowCallWatch } from '../../../src/breaker/slow-call-watch.js';

describe('SlowCallWatch', () => {
  const call = (startedAt: number) => ({ startedAt });

  it('finds calls in flight that take too long already', () => {
    const watch = new SlowCallWatch(100);
    for (const startedAt of [0, 50, 80]) watch.started(call(startedAt));
    expect([99, 100, 149, 150, 1_000].map((now) => watch.overdue(now))).to.deep.equal([0, 1, 1, 2, 3]);
  });

  it('forgets calls that have ended, slow or not', () => {
    const watch = new SlowCallWatch(100);
    const [slow, quick, hanging] = [call(0), call(0), call(0)];
    for (const started of [slow, quick, hanging]) watch.started(started);
    watch.ended(quick);
    expect(watch.overdue(100)).to.equal(2);
    watch.ended(slow);
    expect(watch.overdue(100)).to.equal(1);
  });

  it('takes no notice of the end of a call it does not know', () => {
    const watch = new SlowCallWatch(100);
    watch.started(call(0));
    watch.ended(call(0));
    expect(watch.overdue(100)).to.equal(1);
  });

  it('is empty once cleared', () => {
    const watch = new SlowCallWatch(100);
    watch.started(call(0));
    watch.overdue(100);
    watch.started(call(100));
    watch.clear();
    expect(watch.overdue(1_000)).to.equal(0);
  });
});
