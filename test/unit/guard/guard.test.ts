import { expect } from 'chai';
import { CircuitBreakerRegistry } from '../../../src/breaker/registry.js';
import { forgetReports } from '../../../src/breaker/diagnostics.js';
import { CircuitOpenError, Guard, UNGUARDED, type Admission } from '../../../src/guard/guard.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import type { Target } from '../../../src/target.js';
import { captureDiagnostics } from '../../support/diagnostics.js';

const API: Target = { system: 'http', scheme: 'http', host: 'api', port: 80 };

function guardUnderTest(rules = new RuleSet()) {
  const registry = new CircuitBreakerRegistry();
  return { registry, guard: new Guard(registry, rules) };
}

function settle(admission: Admission, outcome: 'success' | 'failure'): void {
  if (admission instanceof CircuitOpenError) throw admission;
  admission[outcome]();
}

describe('Guard', () => {
  it('makes one breaker for each target, with the preset of its system and its labels', () => {
    const { registry, guard } = guardUnderTest();
    settle(guard.enter(API), 'success');
    settle(guard.enter({ system: 'redis', scheme: 'redis', host: 'cache', port: 6379 }), 'success');
    settle(
      guard.enter({ system: 'postgresql', scheme: 'postgresql', host: 'db', port: 5432, database: 'a' }),
      'success',
    );
    expect([...registry].map(({ name, config, labels }) => [name, config.preset, labels])).to.deep.equal([
      ['http://api', 'httpApi', { system: 'http', server_address: 'api', server_port: 80 }],
      ['redis://cache:6379', 'cache', { system: 'redis', server_address: 'cache', server_port: 6379 }],
      ['postgresql://db:5432/a', 'database', { system: 'postgresql', server_address: 'db', server_port: 5432 }],
    ]);
  });

  it('finds the same breaker for the same target, and another for another scheme, host, port or database', () => {
    const { guard } = guardUnderTest();
    const others: Target[] = [
      { ...API, host: 'other' },
      { ...API, port: 8080 },
      { ...API, scheme: 'https', port: 443 },
      { ...API, scheme: 'https' },
      { ...API, system: 'postgresql', scheme: 'postgresql', database: 'a' },
      { ...API, system: 'postgresql', scheme: 'postgresql', database: 'b' },
    ];
    const breakers = [API, ...others].map((target) => guard.breakerOf(target));
    expect(new Set(breakers).size).to.equal(breakers.length);
    expect([API, ...others].map((target) => guard.breakerOf({ ...target }))).to.deep.equal(breakers);
  });

  it('asks the rules once for each target', () => {
    const asked: Target[] = [];
    const rules = new (class extends RuleSet {
      override resolve(target: Target) {
        asked.push(target);
        return super.resolve(target);
      }
    })();
    const { guard } = guardUnderTest(rules);
    for (let call = 0; call < 5; call++) settle(guard.enter({ ...API }), 'success');
    expect(asked).to.have.length(1);
  });

  it('rejects calls to a target whose circuit is open, with what the call was entered with for observers', () => {
    const { registry, guard } = guardUnderTest();
    const contexts: unknown[] = [];
    registry.observe({
      onAdded: () => {},
      onRemoved: () => {},
      onTransition: (_breaker, _transition, context) => contexts.push(context),
      onRejection: (_breaker, _rejection, _enforced, context) => contexts.push(context),
    });
    for (let call = 0; call < 5; call++) settle(guard.enter(API, `span ${call}`), 'failure');
    expect(guard.enter(API, 'rejected span')).to.be.instanceOf(CircuitOpenError);
    expect(contexts).to.deep.equal(['span 4', 'rejected span']);
    expect(guard.enter({ ...API, host: 'other' })).not.to.be.instanceOf(CircuitOpenError);
  });

  it('gives two targets one breaker where their rules name the same, without an address among its labels', () => {
    const rules = new (class extends RuleSet {
      override resolve(target: Target) {
        return { ...super.resolve(target), name: 'shared', shared: true, labels: { system: target.system } };
      }
    })();
    const { registry, guard } = guardUnderTest(rules);
    expect(guard.breakerOf(API)).to.equal(guard.breakerOf({ ...API, host: 'other' }));
    expect(registry.listNames()).to.deep.equal(['shared']);
    expect(guard.breakerOf(API).labels).to.deep.equal({ system: 'http' });
  });

  it('uses a breaker that is registered under the name of the target', () => {
    const { registry, guard } = guardUnderTest();
    const present = registry.getOrCreate('http://api', { failureThreshold: 1 });
    expect(guard.breakerOf(API)).to.equal(present);
  });

  it('makes a new breaker where the one it knew was removed', () => {
    const { registry, guard } = guardUnderTest();
    const [before, other] = [guard.breakerOf(API), guard.breakerOf({ ...API, host: 'other' })];
    registry.remove(before.name);
    expect(guard.breakerOf(API)).not.to.equal(before);
    expect(guard.breakerOf({ ...API, host: 'other' })).to.equal(other);
  });

  it('makes no breaker for what cannot exist: a stranger has named it, and the call goes through', () => {
    const { registry, guard } = guardUnderTest();
    for (const length of [254, 1_000_000]) {
      expect(guard.enter({ ...API, host: 'h'.repeat(length) })).to.equal(UNGUARDED);
      expect(guard.enter({ ...API, scheme: 'unix', host: `/${'p'.repeat(length + 10)}`, port: 0 })).to.equal(UNGUARDED);
    }
    expect(registry.size).to.equal(0);
    expect(guard.enter({ ...API, host: 'h'.repeat(253) })).not.to.equal(UNGUARDED);
    expect(guard.enter({ ...API, host: `${'h'.repeat(253)}.` })).not.to.equal(UNGUARDED);
  });

  it('observes calls of agents that send telemetry, known by where they go or by their headers', () => {
    const { registry, guard } = guardUnderTest();
    const header = (name: string) => (name === 'x-sentry-auth' ? 'Sentry sentry_key=1' : undefined);
    settle(guard.enter({ ...API, host: 'errors.example.com' }, { header }), 'success');
    settle(guard.enter({ ...API, port: 8126 }), 'success');
    settle(guard.enter({ ...API, host: 'api.example.com' }, { header: () => undefined }), 'success');
    expect([...registry].map(({ name, config }) => [name, config.mode])).to.deep.equal([
      ['http://errors.example.com', 'observe'],
      ['http://api:8126', 'observe'],
      ['http://api.example.com', 'enforce'],
    ]);
    // New rules do not make others of them.
    guard.useRules(new RuleSet());
    expect(registry.get('http://errors.example.com')?.config.mode).to.equal('observe');
  });

  it('makes no evidence of a sign of life where there is no breaker', () => {
    const { registry, guard } = guardUnderTest();
    guard.signOfLife(API);
    expect(registry.size).to.equal(0);
  });

  it('lets every call through where it fails itself, and says so once', () => {
    forgetReports();
    const reports = captureDiagnostics();
    const bug = new Error('a bug in a rule');
    const rules = new (class extends RuleSet {
      override resolve(): never {
        throw bug;
      }
    })();
    const { guard } = guardUnderTest(rules);
    for (let call = 0; call < 3; call++) expect(guard.enter(API)).to.equal(UNGUARDED);
    expect(reports).to.deep.equal([['The guard failed; calls go through unguarded where it does', bug]]);
  });

  it('gives calls that pass unguarded a permit that can be settled in every way', () => {
    for (const outcome of ['success', 'failure', 'timeout', 'ignore'] as const) {
      expect(() => UNGUARDED[outcome]()).not.to.throw();
    }
  });
});
