import { diag, DiagLogLevel } from '@opentelemetry/api';
import { expect } from 'chai';
import type { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { CircuitBreakerRegistry } from '../../../src/breaker/registry.js';
import { Guard, UNGUARDED, type Permit } from '../../../src/guard/guard.js';
import { checkedSection } from '../../../src/rules/live-rules.js';
import type { RulesConfig } from '../../../src/rules/rule.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import { openCircuit, succeed } from '../../support/breakers.js';
import { collectGarbage } from '../../support/memory.js';
import { target } from '../../support/targets.js';

function rulesOf(config: RulesConfig): RuleSet {
  return new RuleSet([checkedSection('rules', config)]);
}

describe('Guard under rules', () => {
  let registry: CircuitBreakerRegistry;

  beforeEach(() => {
    registry = new CircuitBreakerRegistry();
  });

  function guardWith(config: RulesConfig): Guard {
    return new Guard(registry, rulesOf(config));
  }

  function enter(guard: Guard, url: string): Permit {
    return guard.enter(target(url)) as Permit;
  }

  it('reads path and method of no call to a host without rules for them, and once of others', () => {
    const guard = guardWith({ rules: [{ match: { host: 'api', path: '/v1/**' }, name: 'v1' }] });
    const read: string[] = [];
    const call = (host: string) => ({
      get method() {
        read.push(`${host} method`);
        return 'GET';
      },
      get path() {
        read.push(`${host} path`);
        return '/v1/orders';
      },
    });
    const callBoth = () => {
      for (const host of ['api', 'other']) (guard.enter(target(`http://${host}`), call(host)) as Permit).success();
    };
    // These make the breakers.
    callBoth();
    read.length = 0;
    callBoth();
    expect(registry.listNames()).to.deep.equal(['v1', 'http://other']);
    expect(read).to.deep.equal(['api method', 'api path']);
  });

  describe('with as many breakers as there may be', () => {
    it('evicts one that is closed and idle', () => {
      const guard = guardWith({ maxBreakers: 2 });
      for (const host of ['a', 'b', 'c']) enter(guard, `http://${host}`).success();
      expect(registry.listNames()).to.deep.equal(['http://b', 'http://c']);
      // The one that was evicted comes back when it is called again.
      enter(guard, 'http://a').success();
      expect(registry.listNames()).to.deep.equal(['http://c', 'http://a']);
      expect(registry.get('http://a')!.stats().calls.success).to.equal(1);
    });

    it('passes over those that were called since it last looked', () => {
      const guard = guardWith({ maxBreakers: 3 });
      for (const host of ['busy', 'b', 'c']) enter(guard, `http://${host}`).success();
      for (let call = 0; call < 5; call++) enter(guard, 'http://busy').success();
      enter(guard, 'http://d').success();
      expect(registry.listNames()).to.deep.equal(['http://busy', 'http://c', 'http://d']);
    });

    it('never evicts one that rejects calls, has a call in flight, or is not its own', () => {
      const guard = guardWith({ maxBreakers: 2 });
      const own = registry.getOrCreate('made by hand');
      openCircuit(guard.breakerOf(target('http://open')));
      const permit = enter(guard, 'http://in-flight');
      expect(enter(guard, 'http://further')).to.equal(UNGUARDED);
      expect(registry.listNames()).to.deep.equal(['made by hand', 'http://open', 'http://in-flight']);
      expect(registry.get('made by hand')).to.equal(own);
      permit.success();
      expect(enter(guard, 'http://further')).to.not.equal(UNGUARDED);
      expect(registry.listNames()).to.deep.equal(['made by hand', 'http://open', 'http://further']);
    });

    it('looks at a few breakers for each call, on the average, where none can be evicted', () => {
      const guard = guardWith({ maxBreakers: 1_000 });
      for (let host = 0; host < 1_000; host++) enter(guard, `http://in-flight-${host}`);
      let looks = 0;
      for (const { tally } of registry) Object.defineProperty(tally, 'inFlight', { get: () => (looks++, 1) });
      for (let host = 0; host < 10_000; host++) expect(enter(guard, `http://further-${host}`)).to.equal(UNGUARDED);
      expect(looks / 10_000).to.be.within(0.1, 10);
    });

    it('says once that calls go through unguarded', () => {
      const warnings: string[] = [];
      const ignore = () => {};
      diag.setLogger(
        {
          error: ignore,
          warn: (_name, text) => warnings.push(String(text)),
          info: ignore,
          debug: ignore,
          verbose: ignore,
        },
        { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
      );
      const guard = guardWith({ maxBreakers: 1 });
      enter(guard, 'http://in-flight');
      for (const host of ['a', 'b', 'a']) expect(enter(guard, `http://${host}`)).to.equal(UNGUARDED);
      expect(warnings).to.have.length(1);
      expect(warnings[0]).to.contain('maxBreakers');
    });

    it('keeps its memory bounded under a million hosts', function () {
      this.timeout(0);
      const guard = guardWith({
        maxBreakers: 100,
        rules: [
          { match: { host: '*.shared.test' }, name: 'shared' },
          { match: { host: '*.off.test' }, mode: 'off' },
        ],
      });
      const suffixes = ['own.test', 'shared.test', 'off.test'];
      const used = () => {
        collectGarbage();
        return process.memoryUsage().heapUsed;
      };
      const call = (from: number, to: number) => {
        for (let host = from; host < to; host++) {
          const permit = guard.enter({
            system: 'http',
            scheme: 'http',
            host: `h${host}.${suffixes[host % 3]!}`,
            port: 80,
          });
          (permit as Permit).success();
        }
      };
      call(0, 100_000);
      const before = used();
      call(100_000, 1_000_000);
      expect(registry.size).to.equal(100);
      // 900,000 hosts more; a megabyte would be a byte for each.
      expect(used() - before).to.be.below(2_000_000);
    });
  });

  it('makes no breaker where the mode is off', () => {
    const guard = guardWith({ rules: [{ match: { host: 'a' }, mode: 'off' }] });
    expect(enter(guard, 'http://a')).to.equal(UNGUARDED);
    expect(enter(guard, 'http://a')).to.equal(UNGUARDED);
    expect(registry.size).to.equal(0);
    // Asked for by name, there is one all the same, and always the same.
    expect(guard.breakerOf(target('http://a'))).to.equal(guard.breakerOf(target('http://a')));
  });

  it('lets calls pass where the mode is off, also where a breaker made in code has the name', () => {
    const own = registry.getOrCreate('payments');
    openCircuit(own);
    const guard = guardWith({ rules: [{ match: { host: 'a' }, name: 'payments', mode: 'off' }] });
    expect(enter(guard, 'http://a')).to.equal(UNGUARDED);
    expect(own.tally.rejectedOpen).to.equal(0);
  });

  it('asks the rules once for each target', () => {
    let asked = 0;
    const rules = rulesOf({});
    const counting = Object.assign(Object.create(rules) as RuleSet, {
      maxBreakers: 10,
      resolve: (to: Parameters<RuleSet['resolve']>[0]) => {
        asked++;
        return rules.resolve(to);
      },
    });
    const guard = new Guard(registry, counting);
    for (let call = 0; call < 3; call++)
      for (const url of ['http://a', 'http://a:81', 'https://a:80']) enter(guard, url).success();
    expect(asked).to.equal(3);
  });

  describe('under new rules', () => {
    const before = (breaker: CircuitBreaker) => ({ state: breaker.state, calls: breaker.stats().calls });

    it('gives breakers their new options and keeps state and counts', () => {
      const guard = guardWith({});
      const breaker = guard.breakerOf(target('http://a'));
      succeed(breaker);
      openCircuit(breaker);
      const kept = before(breaker);
      guard.useRules(rulesOf({ rules: [{ match: { host: 'a' }, successThreshold: 9 }] }));
      expect(breaker.config.successThreshold).to.equal(9);
      expect(before(breaker)).to.deep.equal(kept);
      expect(guard.breakerOf(target('http://a'))).to.equal(breaker);
    });

    it('gives a breaker the new name of its target, with state, counts and calls in flight', () => {
      const guard = guardWith({});
      const breaker = guard.breakerOf(target('http://a'));
      const permit = enter(guard, 'http://a');
      succeed(breaker);
      openCircuit(breaker);
      guard.useRules(rulesOf({ rules: [{ match: { host: 'a' }, name: 'renamed', failureThreshold: 7 }] }));
      expect(registry.listNames()).to.deep.equal(['renamed']);
      expect(guard.breakerOf(target('http://a'))).to.equal(breaker);
      expect(breaker.name).to.equal('renamed');
      expect(breaker.state).to.equal('open');
      expect(breaker.config.failureThreshold).to.equal(7);
      permit.success();
      expect(breaker.stats().calls).to.deep.include({ success: 2, inFlight: 0 });
    });

    it('lets the first of several targets bring its counts into the breaker they share from now on', () => {
      const guard = guardWith({});
      const [a, b] = ['http://a.test', 'http://b.test'].map((url) => guard.breakerOf(target(url)));
      succeed(a!);
      openCircuit(b!);
      guard.useRules(rulesOf({ rules: [{ match: { host: '*.test' }, name: 'both' }] }));
      expect(guard.breakerOf(target('http://b.test'))).to.equal(a);
      expect(a!.labels).to.deep.equal({ system: 'http' });
      // No call comes to the other one any more: open for ever, it would look like trouble for ever.
      expect(b!.state).to.equal('closed');
      expect(registry.getAllStats().reduce((sum, { calls }) => sum + calls.success + calls.failure, 0)).to.equal(6);
    });

    it('makes targets that shared a breaker one each', () => {
      const guard = guardWith({ rules: [{ match: { host: '*.test' }, name: 'both' }] });
      const shared = guard.breakerOf(target('http://a.test'));
      guard.breakerOf(target('http://b.test'));
      openCircuit(shared);
      guard.useRules(rulesOf({}));
      expect(guard.breakerOf(target('http://a.test'))).to.not.equal(guard.breakerOf(target('http://b.test')));
      expect(shared.state).to.equal('closed');
    });

    it('closes a circuit whose mode is off now, since nothing else ever would', () => {
      const guard = guardWith({});
      const breaker = guard.breakerOf(target('http://a'));
      openCircuit(breaker);
      guard.useRules(rulesOf({ mode: 'off' }));
      expect(breaker.state).to.equal('closed');
      expect(enter(guard, 'http://a')).to.equal(UNGUARDED);
    });

    it('leaves breakers alone that somebody else made', () => {
      const own = registry.getOrCreate('http://a', { failureThreshold: 2 });
      const guard = guardWith({});
      expect(guard.breakerOf(target('http://a'))).to.equal(own);
      guard.useRules(rulesOf({ defaults: { failureThreshold: 9 } }));
      expect(own.config.failureThreshold).to.equal(2);
    });

    it('makes room when maxBreakers grows', () => {
      const guard = guardWith({ maxBreakers: 1 });
      enter(guard, 'http://a');
      expect(enter(guard, 'http://b')).to.equal(UNGUARDED);
      guard.useRules(rulesOf({ maxBreakers: 2 }));
      expect(enter(guard, 'http://b')).to.not.equal(UNGUARDED);
    });
  });
});
