import { expect } from 'chai';
import { hostname } from 'node:os';
import { ConfigError } from '../../../src/breaker/errors.js';
import { resolveFleet } from '../../../src/fleet/settings.js';
import { formatExplanation } from '../../../src/rules/explain.js';
import { checkedSection } from '../../../src/rules/live-rules.js';
import { parseRules } from '../../../src/rules/load.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import type { FleetConfig } from '../../../src/rules/rule.js';
import { isShared } from '../../../src/rules/shared.js';
import { parseTarget, targetLabels } from '../../../src/target.js';

const NOTHING = { fleetMode: undefined, fleetUrl: undefined, fleetDomain: undefined };

function problemOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

describe('the rules of a fleet', () => {
  for (const fleet of [
    { url: 'redis://cache:6379' },
    { url: 'rediss://user:secret@cache:6379/2', namespace: 'shop', mode: 'enforce' },
    { url: 'valkey://cache' },
    { url: 'local', quorum: 2, quorumShare: 0, agreement: 1 },
    { connect: () => ({}), hearing: 0, lease: '10s', rampUp: '0s', heartbeat: 2_000 },
  ] satisfies FleetConfig[]) {
    it(`take ${JSON.stringify(fleet)}`, () => {
      expect(problemOf(() => checkedSection('here', { fleet }))).equal('');
    });
  }

  for (const [fleet, words] of [
    [{ url: 'http://cache' }, 'could not meet there'],
    [{ url: '' }, 'could not meet there'],
    [{ url: 'local', namespace: 'a b' }, 'without white space and braces'],
    [{ url: 'local', mode: 'on' }, 'Use "enforce", "observe" or "off".'],
    [{ url: 'local', quorum: 0 }, 'Use a whole number of 1 or more.'],
    [{ url: 'local', quorumShare: 1.5 }, 'Use a number from 0 to 1'],
    [{ url: 'local', agreement: 0 }, 'Use a number above 0 and at most 1.'],
    [{ url: 'local', lease: '100ms' }, 'at least 1s'],
    [{ url: 'local', heartbeat: 'soon' }, 'is not a duration'],
    [{ url: 'local', quorm: 3 }, 'Did you mean "quorum"?'],
    [[], 'there is nothing to read'],
    ['redis://cache', 'there is nothing to read'],
  ] as const) {
    it(`do not take ${JSON.stringify(fleet)}`, () => {
      expect(problemOf(() => checkedSection('here', { fleet: fleet as FleetConfig }))).contain(words);
    });
  }

  it('are read from a file, where a number without a unit is not meant in milliseconds', () => {
    const text = 'fleet:\n  url: redis://cache:6379\n  namespace: shop\n  hearing: 80ms\n';
    expect(parseRules('otel-breaker.yaml', text, {}).fleet).deep.equal({
      url: 'redis://cache:6379',
      namespace: 'shop',
      hearing: '80ms',
    });
    expect(problemOf(() => parseRules('otel-breaker.yaml', `${text}  rampUp: 5\n`, {}))).contain('Write the unit: 5s');
    expect(problemOf(() => parseRules('otel-breaker.yaml', `${text}  connect: x\n`, {}))).contain('connect');
  });

  it('keep passwords out of messages', () => {
    expect(problemOf(() => checkedSection('here', { fleet: { url: 'redi://user:secret@cache' } }))).not.contain(
      'secret',
    );
  });

  it('have defaults for everything but where it is', () => {
    expect(resolveFleet({ url: 'redis://cache', namespace: 'shop' }, NOTHING, undefined)).deep.equal({
      mode: 'observe',
      url: 'redis://cache',
      connect: undefined,
      namespace: 'shop',
      domain: hostname(),
      quorum: 3,
      quorumShare: 0.1,
      agreement: 0.6,
      hearing: 50,
      lease: 5_000,
      rampUp: undefined,
      heartbeat: 5_000,
    });
  });

  it('are none where nothing asks for it, or mode off takes it back', () => {
    expect(resolveFleet(undefined, NOTHING, 'shop')).equal(undefined);
    expect(resolveFleet({ url: 'local', mode: 'off' }, NOTHING, 'shop')).equal(undefined);
    expect(resolveFleet({ url: 'local' }, { ...NOTHING, fleetMode: 'off' }, 'shop')).equal(undefined);
  });

  it('are filled up by the environment, whose mode beats that of the file', () => {
    const environment = { fleetMode: 'enforce', fleetUrl: 'redis://cache', fleetDomain: 'node-7' } as const;
    const settings = resolveFleet(undefined, environment, 'shop')!;
    expect(settings).include({ mode: 'enforce', url: 'redis://cache', domain: 'node-7', namespace: 'shop' });
    expect(resolveFleet({ mode: 'observe' }, environment, 'shop')!.mode).equal('enforce');
  });

  it('need a place and a name', () => {
    const problem = problemOf(() => resolveFleet({}, NOTHING, undefined));
    expect(problem).contain('fleet.url').and.contain('fleet.namespace').and.contain('OTEL_SERVICE_NAME');
  });

  it('need neither quorum nor name on one machine', () => {
    expect(resolveFleet({ url: 'local' }, NOTHING, undefined)).include({ quorum: 1, namespace: 'local' });
  });
});

describe('a breaker is shared', () => {
  const shared = (url: string, fleet?: boolean) =>
    isShared({ config: fleet === undefined ? {} : { fleet }, labels: targetLabels(parseTarget(url)!) });

  it('where its target is on another machine', () => {
    for (const url of ['http://api.example.com', 'http://10.0.0.7:8080', 'redis://cache', 'postgresql://db/orders']) {
      expect(shared(url), url).equal(true);
    }
  });

  it('not where each machine has another target of that name', () => {
    for (const host of [
      'localhost',
      'app.localhost',
      '127.0.0.1',
      '127.8.0.1',
      '[::1]',
      '169.254.169.254',
      '[fe80::1]',
    ]) {
      expect(shared(`http://${host}:8080`), host).equal(false);
    }
    expect(shared('http://host.docker.internal:8080')).equal(false);
    expect(shared('unix:/run/app.sock')).equal(false);
  });

  it('as its option says, where that says anything', () => {
    expect(shared('http://localhost', true)).equal(true);
    expect(shared('http://api.example.com', false)).equal(false);
  });

  it('not where it was made in code', () => {
    expect(isShared({ config: {}, labels: {} })).equal(false);
  });

  it('and the explanation of a target says so', () => {
    const rules = new RuleSet([
      { origin: 'here', config: { fleet: { url: 'local' }, rules: [{ match: { host: 'sidecar' }, fleet: false }] } },
    ]);
    const explain = (url: string) => {
      const target = parseTarget(url)!;
      return formatExplanation(target, rules.explain(target), 'here');
    };
    expect(explain('http://api.example.com')).match(
      /^fleet +shared, mode observe \(default for targets on other machines\)$/m,
    );
    expect(explain('http://localhost')).match(/^fleet +not shared: the target is another one on each machine$/m);
    expect(explain('http://sidecar')).match(/^fleet +not shared$/m);
  });
});
