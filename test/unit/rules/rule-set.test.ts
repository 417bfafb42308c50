import { expect } from 'chai';
import type { BreakerOptions, Mode } from '../../../src/breaker/options.js';
import { checkedSection } from '../../../src/rules/live-rules.js';
import type { RulesConfig } from '../../../src/rules/rule.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import { target } from '../../support/targets.js';

const API = 'https://api.example.com';

function rulesOf(config: RulesConfig, mode?: Mode): RuleSet {
  return new RuleSet([checkedSection('rules', config)], mode);
}

describe('RuleSet', () => {
  it('gives each system the preset that suits it where no rule says otherwise', () => {
    const rules = new RuleSet();
    expect(rules.resolve(target(API)).config).to.include({ preset: 'httpApi', openDuration: 30_000 });
    expect(rules.resolve(target('redis://cache')).config).to.include({ preset: 'cache', openDuration: 20_000 });
    expect(rules.resolve(target('postgresql://db/x')).config).to.include({ preset: 'database', openDuration: 10_000 });
  });

  it('lets automatic breakers open for 200 ms at first, and for openDuration where that is shorter', () => {
    const initial = (config: RulesConfig) => rulesOf(config).resolve(target(API)).config.initialOpenDuration;
    expect([
      initial({}),
      initial({ defaults: { openDuration: '7s' } }),
      initial({ rules: [{ match: {}, preset: 'llmService' }] }),
      initial({ defaults: { openDuration: 50 } }),
      initial({ defaults: { initialOpenDuration: '2s' } }),
    ]).to.deep.equal([200, 200, 200, 50, 2_000]);
  });

  it('says where that comes from', () => {
    const sourceOf = (config: RulesConfig) =>
      rulesOf(config)
        .explain(target(API))
        .options.find(({ key }) => key === 'initialOpenDuration')!.source;
    expect(sourceOf({})).to.equal('default of automatic breakers');
    expect(sourceOf({ defaults: { initialOpenDuration: '2s' } })).to.equal('defaults of rules');
  });

  it('does not take an initialOpenDuration that is longer than the openDuration it meets', () => {
    const match = { host: 'api.example.com' };
    const long = { initialOpenDuration: '2s' };
    const says = /it is longer than openDuration \(1 s\)/;
    expect(() => rulesOf({ rules: [{ match, ...long, openDuration: '1s' }] })).to.throw(says);
    expect(() => rulesOf({ defaults: long, rules: [{ match, openDuration: '1s' }] })).to.throw(says);
    expect(() => rulesOf({ defaults: { openDuration: '1s' }, rules: [{ match, ...long }] })).to.throw(says);
    expect(() => rulesOf({ defaults: { ...long, openDuration: '1s' } })).to.throw(says);
  });

  // From the weakest to the strongest.
  const PRECEDENCE: readonly [
    says: string,
    config: Omit<RulesConfig, 'rules'>,
    rule: BreakerOptions,
    expected: BreakerOptions,
  ][] = [
    ['the preset of the system', {}, {}, { openDuration: 30_000, failureThreshold: 5 }],
    [
      'defaults beat that preset',
      { defaults: { openDuration: '7s' } },
      {},
      { openDuration: 7_000, failureThreshold: 5 },
    ],
    [
      'a preset in defaults replaces it',
      { defaults: { preset: 'database' } },
      {},
      { openDuration: 10_000, failureThreshold: 10 },
    ],
    [
      'other defaults beat the preset in defaults',
      { defaults: { preset: 'database', openDuration: '7s' } },
      {},
      { openDuration: 7_000, failureThreshold: 10 },
    ],
    [
      'a preset that the rule names beats defaults',
      { defaults: { openDuration: '7s' } },
      { preset: 'llmService' },
      { openDuration: 120_000, failureThreshold: 3 },
    ],
    [
      'but not in what all presets share',
      { defaults: { window: '1m', mode: 'observe' } },
      { preset: 'llmService' },
      { window: 60_000, mode: 'observe' },
    ],
    [
      'an option of the rule beats everything in files',
      { defaults: { openDuration: '7s' } },
      { preset: 'llmService', openDuration: '9s' },
      { openDuration: 9_000 },
    ],
    ['the mode of the file', { mode: 'observe' }, {}, { mode: 'observe' }],
    [
      'the mode in defaults beats that of the file',
      { mode: 'observe', defaults: { mode: 'enforce' } },
      {},
      { mode: 'enforce' },
    ],
    [
      'the mode of a rule beats both',
      { mode: 'observe', defaults: { mode: 'enforce' } },
      { mode: 'off' },
      { mode: 'off' },
    ],
  ];
  for (const [says, config, rule, expected] of PRECEDENCE) {
    it(`precedence: ${says}`, () => {
      const rules = rulesOf({ ...config, rules: [{ match: { host: 'api.example.com' }, ...rule }] });
      expect(rules.resolve(target(API)).config).to.include(expected);
    });
  }

  it('precedence: the mode of the environment beats all', () => {
    const rules = rulesOf(
      { mode: 'enforce', rules: [{ match: { host: 'api.example.com' }, mode: 'enforce' }] },
      'observe',
    );
    expect(rules.resolve(target(API)).config.mode).to.equal('observe');
    expect(rules.resolve(target('redis://cache')).config.mode).to.equal('observe');
  });

  it('precedence: an earlier section beats a later one, rules, defaults and mode', () => {
    const code = checkedSection('code', {
      mode: 'observe',
      defaults: { minimumCalls: 3 },
      rules: [{ match: { host: 'a' }, name: 'code' }],
    });
    const file = checkedSection('file', {
      mode: 'off',
      maxBreakers: 5,
      defaults: { minimumCalls: 4, window: '1m' },
      rules: [
        { match: { host: 'a' }, name: 'file' },
        { match: { host: 'b' }, name: 'file' },
      ],
    });
    const rules = new RuleSet([code, file]);
    expect(rules.resolve(target('http://a'))).to.deep.include({ name: 'code' });
    expect(rules.resolve(target('http://a')).config).to.include({ mode: 'observe', minimumCalls: 3, window: 60_000 });
    expect(rules.resolve(target('http://b')).name).to.equal('file');
    expect(rules.maxBreakers).to.equal(5);
  });

  it('takes the first rule that matches, and no other', () => {
    const rules = rulesOf({
      rules: [
        { match: { host: '*.example.com' }, openDuration: '1s' },
        { match: { port: 443 }, failureThreshold: 1 },
      ],
    });
    expect(rules.resolve(target(API)).config).to.include({ openDuration: 1_000, failureThreshold: 5 });
  });

  it('gives targets of one rule one breaker by its name, and one for each capture', () => {
    const rules = rulesOf({
      rules: [
        { match: { host: 'tenant-*.example.com' }, name: 'tenant-*.example.com' },
        { match: { host: '*.*.example.org' }, name: 'region $2' },
      ],
    });
    const names = [
      'http://tenant-1.example.com',
      'https://tenant-2.example.com',
      'http://a.eu.example.org',
      'http://b.eu.example.org',
      'http://b.us.example.org',
    ].map((url) => rules.resolve(target(url)).name);
    expect(names).to.deep.equal([
      'tenant-*.example.com',
      'tenant-*.example.com',
      'region eu',
      'region eu',
      'region us',
    ]);
  });

  it('labels a breaker with no address that not all of its targets have', () => {
    const labels = (match: object) => rulesOf({ rules: [{ match, name: 'one' }] }).resolve(target(API));
    expect(labels({ host: '*.example.com' })).to.deep.include({ shared: true, labels: { system: 'http' } });
    expect(labels({ host: 'api.example.com' })).to.deep.include({
      shared: true,
      labels: { system: 'http', server_address: 'api.example.com' },
    });
    expect(labels({ host: 'api.example.com', port: 443 })).to.deep.include({
      shared: false,
      labels: { system: 'http', server_address: 'api.example.com', server_port: 443 },
    });
  });

  it('explains where each option comes from', () => {
    const rules = rulesOf(
      {
        defaults: { window: '1m' },
        rules: [{ match: { host: 'api.example.com' }, preset: 'llmService', openDuration: '9s' }],
      },
      'observe',
    );
    const { rule, options } = rules.explain(target(API));
    const sources = Object.fromEntries(options.map(({ key, value, source }) => [key, [value, source]]));
    expect(rule).to.equal('rules[0] of rules');
    expect(sources).to.deep.include({
      mode: ['observe', 'OTEL_BREAKER_MODE'],
      window: [60_000, 'defaults of rules'],
      openDuration: [9_000, 'rules[0] of rules'],
      failureThreshold: [3, 'preset llmService'],
      halfOpenTimeout: [30_000, 'follows from openDuration'],
    });
  });

  it('takes functions in code, and keys that are there but undefined', () => {
    const isFailure = () => true;
    const rules = rulesOf({
      mode: undefined,
      rules: [{ match: { host: 'api.example.com', port: undefined }, name: undefined, window: undefined, isFailure }],
    });
    expect(rules.resolve(target(API))).to.deep.include({ name: API });
    expect(rules.resolve(target(API)).config).to.include({ isFailure, window: 30_000 });
  });

  it('throws a ConfigError that names everything wrong with rules in code', () => {
    const bad = {
      rules: [{ match: { host: 'a' }, minimumCals: 3 }, { match: { hots: 'b' } }],
    } as unknown as RulesConfig;
    expect(() => checkedSection('configure()', bad)).to.throw(
      'configure(): rules[0].minimumCals: got 3; this key is unknown and would have no effect. Did you mean "minimumCalls"?\n' +
        'configure(): rules[1].match.hots: got "b"; this key is unknown and would have no effect. Did you mean "host"?',
    );
  });
});
