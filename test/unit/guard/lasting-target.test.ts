import { expect } from 'chai';
import { KnownTargets } from '../../../instrumentations/known-targets.js';
import { CircuitBreakerRegistry } from '../../../src/breaker/registry.js';
import { Guard, UNGUARDED } from '../../../src/guard/guard.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import { LastingTarget, type Target } from '../../../src/target.js';

const API: Target = { system: 'http', scheme: 'http', host: 'api', port: 80 };

function guardUnderTest(rules = new RuleSet()) {
  const registry = new CircuitBreakerRegistry();
  return { registry, guard: new Guard(registry, rules) };
}

describe('A lasting target', () => {
  it('has the breaker of the same target said anew', () => {
    const { guard } = guardUnderTest();
    const target = LastingTarget.of(API);
    for (let call = 0; call < 3; call++) expect(guard.breakerOf(target)).to.equal(guard.breakerOf(API));
  });

  it('has the new breaker once the old one was removed', () => {
    const { guard, registry } = guardUnderTest();
    const target = LastingTarget.of(API);
    const old = guard.breakerOf(target);
    expect(guard.breakerOf(target)).to.equal(old);
    registry.remove('http://api');
    const renewed = guard.breakerOf(target);
    expect(renewed).not.to.equal(old);
    expect(renewed).to.equal(registry.get('http://api'));
  });

  it('has what new rules say', () => {
    const { guard, registry } = guardUnderTest();
    const target = LastingTarget.of(API);
    guard.enter(target);
    guard.useRules(new RuleSet([{ origin: 'test', config: { rules: [{ match: { host: 'api' }, name: 'other' }] } }]));
    expect(guard.breakerOf(target)).to.equal(registry.get('other'));
    guard.useRules(new RuleSet([{ origin: 'test', config: { rules: [{ match: { host: 'api' }, mode: 'off' }] } }]));
    expect(guard.enter(target)).to.equal(UNGUARDED);
  });

  it('has a breaker of its own at each guard', () => {
    const [one, other] = [guardUnderTest().guard, guardUnderTest().guard];
    const target = LastingTarget.of(API);
    const breakers = [one, other, one, other].map((guard) => guard.breakerOf(target));
    expect(breakers[0]).to.equal(breakers[2]).and.not.to.equal(breakers[1]);
    expect(breakers[1]).to.equal(breakers[3]);
  });

  it('is told apart by path and method where rules do so', () => {
    const rules = [{ match: { host: 'api', path: '/export' }, name: 'export' }];
    const { guard, registry } = guardUnderTest(new RuleSet([{ origin: 'test', config: { rules } }]));
    const target = LastingTarget.of(API);
    for (const path of ['/export', '/', '/export', '/']) guard.enter(target, { method: 'GET', path });
    expect([...registry].map(({ name, tally }) => [name, tally.inFlight])).to.have.deep.members([
      ['export', 2],
      ['http://api', 2],
    ]);
  });

  it('moves on with its breaker where more hosts are called than are remembered', () => {
    const { guard } = guardUnderTest(new RuleSet([{ origin: 'test', config: { maxBreakers: 20_000 } }]));
    const target = LastingTarget.of(API);
    const breaker = guard.breakerOf(target);
    for (let host = 0; host < 10_000; host++) {
      guard.enter({ ...API, host: `host-${host}` });
      if (host % 1_000 === 0) expect(guard.breakerOf(target)).to.equal(breaker);
    }
    expect(guard.breakerOf(target)).to.equal(breaker);
  });
});

describe('Known targets', () => {
  it('are the same for the same scheme, host and port, and others for others', () => {
    const known = new KnownTargets('http');
    const first = known.get('http', 'API', 80);
    expect(first).to.include({ system: 'http', scheme: 'http', host: 'api', port: 80 });
    expect(known.get('http', 'API', 80)).to.equal(first);
    const others = [known.get('https', 'API', 80), known.get('http', 'web', 80), known.get('http', 'API', '81')];
    expect(new Set([first, ...others]).size).to.equal(4);
    expect(others[2]!.port).to.equal(81);
  });

  it('are forgotten where there are many, and right all the same', () => {
    const known = new KnownTargets('http');
    for (let round = 0; round < 3; round++) {
      for (let host = 0; host < 20; host++) expect(known.get('http', `h${host}`, 80).host).to.equal(`h${host}`);
    }
  });
});
