import { expect } from 'chai';
import { CircuitBreakerRegistry } from '../../../src/breaker/registry.js';
import { CircuitOpenError, Guard, UNGUARDED } from '../../../src/guard/guard.js';
import { checkedSection } from '../../../src/rules/live-rules.js';
import type { RulesConfig } from '../../../src/rules/rule.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import type { Target } from '../../../src/target.js';
import { target } from '../../support/targets.js';

const PROXY = 'http://proxy:3128';

const through = (url: string, via = PROXY): Target => ({ ...target(url), via });

describe('A call through a plain proxy', () => {
  let registry: CircuitBreakerRegistry;

  beforeEach(() => {
    registry = new CircuitBreakerRegistry();
  });

  const guardWith = (config: RulesConfig = {}) => new Guard(registry, new RuleSet([checkedSection('rules', config)]));

  /** @returns what became of the call */
  function call(guard: Guard, to: Target, outcome: 'success' | 'failure' = 'success') {
    const admission = guard.enter(to);
    if (admission instanceof CircuitOpenError) return 'rejected';
    admission[outcome](outcome === 'failure' ? new Error('down') : undefined);
    return admission === UNGUARDED ? 'unguarded' : 'made';
  }

  it('has a breaker of its own, so that a gateway cannot open that of the real host', () => {
    const guard = guardWith();
    for (let n = 0; n < 6; n++) call(guard, through('https://payments'), 'failure');
    expect(call(guard, through('https://payments'))).to.equal('rejected');
    expect(call(guard, target('https://payments'))).to.equal('made');
    expect(call(guard, through('https://payments', 'http://other'))).to.equal('made');
    expect(registry.listNames()).to.deep.equal([
      'https://payments via http://proxy:3128',
      'https://payments',
      'https://payments via http://other',
    ]);
  });

  it('has the options of a rule for its origin, by host or by name, and the name of the rule with the proxy', () => {
    const guard = guardWith({
      rules: [
        { match: { host: 'payments' }, name: 'payments', failureThreshold: 7 },
        { match: { name: 'http://orders*' }, failureThreshold: 9 },
      ],
    });
    call(guard, through('https://payments'));
    call(guard, through('http://orders:8080'));
    expect(registry.get('payments via http://proxy:3128')?.config.failureThreshold).to.equal(7);
    expect(registry.get('http://orders:8080 via http://proxy:3128')?.config.failureThreshold).to.equal(9);
  });

  it("takes part in a tenth of the breakers at most, which take each other's places", () => {
    const guard = guardWith({ maxBreakers: 40 });
    for (let host = 0; host < 20; host++) call(guard, target(`http://own${host}`));
    for (let host = 0; host < 1_000; host++) call(guard, through(`http://stranger${host}`));
    expect(registry.size).to.equal(24);
    for (let host = 0; host < 20; host++) expect(registry.get(`http://own${host}`)).to.not.equal(undefined);
    // Those of another proxy have a share of their own.
    for (let host = 0; host < 1_000; host++) call(guard, through(`http://stranger${host}`, 'http://other'));
    expect(registry.size).to.equal(28);
  });

  it('is unguarded where none of that share may go', () => {
    const guard = guardWith({ maxBreakers: 20 });
    for (const host of ['a', 'b']) for (let n = 0; n < 5; n++) call(guard, through(`http://${host}`), 'failure');
    expect(call(guard, through('http://c'))).to.equal('unguarded');
    expect(call(guard, target('http://c'))).to.equal('made');
  });
});
