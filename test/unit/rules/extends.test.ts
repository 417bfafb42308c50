import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { EventEmitter } from 'node:events';
import { ConfigError } from '../../../src/breaker/errors.js';
import { checkedSection, LiveRules } from '../../../src/rules/live-rules.js';
import { loadRulesFile, parseRules } from '../../../src/rules/load.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import type { RulesConfig } from '../../../src/rules/rule.js';
import { target } from '../../support/targets.js';

describe('Presets of the rules', () => {
  const resolve = (config: RulesConfig, url = 'http://a') =>
    new RuleSet([checkedSection('rules', config)]).resolve(target(url)).config;
  const payments = { preset: 'database', failureThreshold: 2, openDuration: '7s' } as const;

  it('give their numbers to rules that name them, before the defaults', () => {
    const config = resolve({
      defaults: { failureThreshold: 9, minimumCalls: 4, window: '1m' },
      presets: { payments },
      rules: [{ match: { host: 'a' }, preset: 'payments', minimumCalls: 30 }],
    });
    const expected = { preset: 'database', failureThreshold: 2, openDuration: 7_000, successThreshold: 3 };
    expect(config).to.include({ ...expected, minimumCalls: 30, window: 60_000 });
  });

  it('start from the preset of the system where they name none', () => {
    const config: RulesConfig = { presets: { own: { failureThreshold: 2 } }, rules: [{ match: {}, preset: 'own' }] };
    expect(resolve(config, 'redis://a')).to.include({ preset: 'cache', failureThreshold: 2, openDuration: 20_000 });
  });

  it('can be the default, which defaults change', () => {
    const config = resolve({ presets: { payments }, defaults: { preset: 'payments', openDuration: '8s' } });
    expect(config).to.include({ preset: 'database', failureThreshold: 2, openDuration: 8_000 });
  });

  for (const [what, config, message] of [
    ['the name of a built-in one', { presets: { cache: {} } }, 'presets.cache: a built-in preset has this name'],
    ['an unknown name', { presets: { payments }, defaults: { preset: 'payment' } }, 'Did you mean "payments"?'],
    ['a name that none has', { rules: [{ match: {}, preset: 'zzzzzzzz' }] }, 'Use "default", "httpApi"'],
    [
      'a preset of one that is not built in',
      { presets: { payments, own: { preset: 'payments' } } },
      'presets.own.preset: got "payments"',
    ],
    ['an unknown option', { presets: { own: { openDuratoin: 1 } } }, 'presets.own.openDuratoin'],
    [
      'options that do not fit together',
      { presets: { own: { openDuration: '1m', maxOpenDuration: '1s' } } },
      'presets.own.maxOpenDuration',
    ],
    [
      'more calls than its window has',
      { defaults: { window: '5 calls' } },
      'defaults.window: got 10; the window has 5 calls',
    ],
    ['a file to extend', { extends: './team.yaml' }, 'extends: got "./team.yaml"; code has no place'],
  ] as const) {
    it(`refuse ${what}`, () => expect(() => resolve(config as RulesConfig)).to.throw(ConfigError, message));
  }
});

describe('A rules file that extends another one', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'extends-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const load = (name = 'own.yaml') => loadRulesFile(join(folder, name));

  function problemsOf(): string {
    try {
      load();
    } catch (error) {
      if (error instanceof ConfigError) return error.message.replaceAll(`${folder}/`, '');
      throw error;
    }
    throw new Error('accepted');
  }

  it('has its own rules and values before those of the other', () => {
    write(
      'own.yaml',
      'extends: ./team.yaml\nmaxBreakers: 7\ndefaults: { window: 10s }\nrules: [{ match: { host: a }, name: own, preset: pay }]\n',
    );
    write(
      'team.yaml',
      'extends: all.json\ndefaults: { window: 20s, minimumCalls: 3 }\nrules:\n  - { match: { host: a }, name: team }\n  - { match: { host: b }, name: b }\n',
    );
    write('all.json', '{ "mode": "observe", "maxBreakers": 9, "presets": { "pay": { "failureThreshold": 2 } } }');
    const rules = new RuleSet([load()]);
    expect(rules.maxBreakers).to.equal(7);
    const { name, config } = rules.resolve(target('http://a'));
    expect(name).to.equal('own');
    expect(config).to.include({ window: 10_000, minimumCalls: 3, mode: 'observe', failureThreshold: 2 });
    expect(rules.resolve(target('http://b')).name).to.equal('b');
    expect(rules.explain(target('http://b')).rule).to.match(/^rules\[1\] of .*team\.yaml$/);
  });

  it('tells what is wrong with either, each by its own file and line', () => {
    write('own.yaml', 'mode: off\nextends: team.yaml\ndefaults: { preset: mine, openDuration: soon }\n');
    write('team.yaml', 'rules:\n  - match: { host: a }\n    mode: on\n');
    expect(
      problemsOf()
        .split('\n')
        .map((line) => line.split(' got')[0]),
    ).to.deep.equal(['own.yaml:3:41 defaults.openDuration:', 'team.yaml:3:11 rules[0].mode:']);
  });

  for (const [what, files, message] of [
    [
      'itself',
      { 'own.yaml': 'extends: ./own.yaml\n' },
      'own.yaml:1:10 extends: got "./own.yaml"; the file would extend itself: own.yaml → own.yaml.',
    ],
    [
      'one that extends it',
      { 'own.yaml': 'extends: b.yaml\n', 'b.yaml': 'mode: off\nextends: own.yaml\n' },
      'b.yaml:2:10 extends: got "own.yaml"; the file would extend itself: own.yaml → b.yaml → own.yaml.',
    ],
    [
      'one that is not there',
      { 'own.yaml': 'extends: gone.yaml\n' },
      'own.yaml:1:10 extends: got "gone.yaml"; gone.yaml: there is no such file',
    ],
    ['a URL', { 'own.yaml': 'extends: https://a.test/rules.yaml\n' }, 'it is a URL, and rules are read from files'],
    ['nothing', { 'own.yaml': 'extends: ""\n' }, 'own.yaml:1:10 extends: got ""; no file can have it for a name'],
    ['a list', { 'own.yaml': 'extends: [a.yaml]\n' }, 'no file can have it for a name'],
    ['a folder', { 'own.yaml': 'extends: .\n' }, 'it is no file'],
  ] as const) {
    it(`refuses ${what}`, () => {
      for (const [name, text] of Object.entries(files)) write(name, text);
      expect(problemsOf()).to.include(message);
    });
  }

  it('ends the chain somewhere', () => {
    for (let index = 0; index < 12; index++) write(`${index}.yaml`, `extends: ${index + 1}.yaml\n`);
    write('12.yaml', 'mode: off\n');
    expect(() => load('0.yaml')).to.throw(ConfigError, '8 files extend one another already');
  });

  it('is checked by parseRules as well', () => {
    write('team.yaml', 'presets: { pay: {} }\n');
    const text = 'extends: team.yaml\ndefaults: { preset: pay }\n';
    expect(parseRules('own.yaml', text, {}, folder)).to.deep.include({ extends: 'team.yaml' });
  });

  it('is read again when either changes, and whichever it extends by then', async () => {
    write('own.yaml', 'extends: team.yaml\n');
    write('team.yaml', 'maxBreakers: 1\n');
    const events = new EventEmitter();
    const rules = new LiveRules(
      { mode: undefined, watch: true, config: join(folder, 'own.yaml') },
      {
        onReload: () => events.emit('reload'),
        onBadReload: () => events.emit('bad'),
        onWatchFailed: () => {},
        onRestless: () => {},
      },
    );
    try {
      let most = 0;
      rules.use(({ maxBreakers }) => (most = maxBreakers));
      rules.load();
      expect(most).to.equal(1);
      const after = async (event: string, name: string, text: string) => {
        const told = once(events, event);
        write(name, text);
        await told;
        return most;
      };
      expect(await after('reload', 'team.yaml', 'maxBreakers: 22\n')).to.equal(22);
      write('other.yaml', 'maxBreakers: 3\n');
      expect(await after('reload', 'own.yaml', 'extends: other.yaml\n')).to.equal(3);
      expect(await after('bad', 'other.yaml', 'maxBreakers: none\n')).to.equal(3);
      expect(await after('reload', 'other.yaml', 'maxBreakers: 55\n')).to.equal(55);
    } finally {
      rules.stop();
    }
  });
});
