import { expect } from 'chai';
import { runOverload, type Second } from './overload.js';

describe('a target that cannot take its full load at once', function () {
  this.timeout(60_000);

  it('comes back with recoveryDuration, and is overloaded again and again without', async () => {
    // One after the other: what a busy machine does to one, it must not do to the other.
    const gently = total(await runOverload('4s', 7));
    const atOnce = total(await runOverload('0s', 7));
    expect(gently.served).to.be.greaterThan(1.5 * atOnce.served);
    expect(gently.failed).to.be.lessThan(atOnce.failed);
  });
});

function total(seconds: readonly Second[]): Pick<Second, 'served' | 'failed'> {
  const sum = (what: keyof Second) => seconds.reduce((all, second) => all + second[what], 0);
  return { served: sum('served'), failed: sum('failed') };
}
