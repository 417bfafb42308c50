import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { BlockList } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { begins, cleansUp, mayBegin } from '../../instrumentations/pg/statement.js';
import { resolveConfig } from '../../src/breaker/config.js';
import { ConfigError } from '../../src/breaker/errors.js';
import { checkedSection } from '../../src/rules/live-rules.js';
import { loadRulesFile, parseRules } from '../../src/rules/load.js';
import { Matcher, normalizeHost } from '../../src/rules/match.js';
import { RuleSet } from '../../src/rules/rule-set.js';
import { substitute } from '../../src/rules/substitute.js';
import { parseTarget } from '../../src/target.js';
import { Random } from '../support/random.js';

function problemsOf(act: () => unknown): ConfigError['problems'] {
  try {
    act();
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
  throw new Error('It was accepted.');
}

const lines = (count: number, line: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');

describe('hostile rules files', () => {
  let folder: string;
  before(() => (folder = mkdtempSync(join(tmpdir(), 'otel-breaker-hostile-'))));
  after(() => rmSync(folder, { recursive: true }));

  function fileOf(text: string | Buffer, name = 'rules.yaml'): string {
    const file = join(folder, name);
    writeFileSync(file, text);
    return file;
  }

  const POLLUTIONS = {
    'at the root': '{"__proto__": {"polluted": true, "mode": "off"}}',
    'in the defaults':
      '{"defaults": {"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}}',
    'in a rule': '{"rules": [{"match": {"host": "a"}, "__proto__": {"polluted": true, "mode": "off"}}]}',
    'in a match': '{"rules": [{"match": {"host": "a", "__proto__": {"polluted": true}}, "mode": "off"}]}',
    'as constructor': '{"rules": [{"match": {"host": "a"}, "constructor": {"prototype": {"polluted": true}}}]}',
    'as prototype': '{"defaults": {"prototype": {"polluted": true}}}',
  };
  for (const [where, json] of Object.entries(POLLUTIONS)) {
    it(`touch no prototype: ${where}, in YAML, JSON and code`, () => {
      const attempts = [
        () => parseRules('rules.json', json, {}),
        () => parseRules('rules.yaml', json, {}),
        () => checkedSection('configure()', JSON.parse(json) as object),
      ];
      for (const attempt of attempts) {
        expect(
          problemsOf(attempt)
            .map(({ path }) => path)
            .join(),
        ).to.match(/__proto__|constructor|prototype/);
      }
      expect(({} as { polluted?: unknown }).polluted).to.equal(undefined);
      expect(Object.keys(Object.prototype)).to.deep.equal([]);
    });
  }

  it('touch no prototype by the options of a breaker', () => {
    for (const json of ['{"__proto__": {"mode": "off"}}', '{"constructor": {"prototype": {"mode": "off"}}}']) {
      expect(problemsOf(() => resolveConfig(JSON.parse(json) as object))).to.have.length(1);
    }
    expect(resolveConfig({}).mode).to.equal('enforce');
  });

  it('touch no prototype by merge keys and aliases', () => {
    const yaml = 'defaults: &a { "__proto__": { polluted: true } }\nrules:\n  - match: { host: a }\n    <<: *a\n';
    expect(problemsOf(() => parseRules('rules.yaml', yaml, {}))).not.to.be.empty;
    expect(({} as { polluted?: unknown }).polluted).to.equal(undefined);
  });

  const laughs = (depth: number, width: number) =>
    [`a0: &a0 [${Array<string>(width).fill('lol').join()}]`]
      .concat(
        Array.from(
          { length: depth },
          (_, i) => `a${i + 1}: &a${i + 1} [${Array<string>(width).fill(`*a${i}`).join()}]`,
        ),
      )
      .join('\n');

  const BOMBS: Record<string, string> = {
    'a billion laughs': laughs(9, 10),
    'laughs of few levels that are wide': laughs(2, 1_000),
    'a thousand anchors and each of them twice': lines(1_000, (i) => `k${i}: [&x${i} a, *x${i}, *x${i}]`),
    'an alias of itself': 'rules: &r [*r]',
    'maps within maps': '{a: '.repeat(20_000),
    'lists within lists': '['.repeat(100_000),
    'dashes within dashes': '- '.repeat(50_000),
    'keys without values': '? '.repeat(50_000),
    'ten thousand keys': lines(10_000, (i) => `k${i}: 1`),
    'one key ten thousand times': 'mode: off\n'.repeat(10_000),
    'a key of 200,000 characters': `${'k'.repeat(200_000)}: 1`,
    'a text of 200,000 spaces': `mode: "${' '.repeat(200_000)}"`,
    'ten thousand documents': '---\nmode: off\n'.repeat(10_000),
    'ten thousand tags': lines(10_000, () => '- !!str a'),
    'ten thousand references to variables': `mode: "${'${A:-'.repeat(10_000)}"`,
    'dollars without an end': `mode: "${'$'.repeat(100_001)}{"`,
    'a comment of 200,000 characters and no end': `mode: maybe #${' #'.repeat(100_000)}`,
    'quotes that open and never close': '"'.repeat(100_001),
    'folded lines': `mode: >\n${'  a\n\n'.repeat(40_000)}`,
  };
  for (const [name, text] of Object.entries(BOMBS)) {
    it(`are refused in bounded time and memory: ${name}`, () => {
      for (const file of ['rules.yaml', 'rules.json']) {
        const problems = problemsOf(() => parseRules(file, text, {}));
        expect(problems.length).to.be.within(1, 101);
        expect(String(new ConfigError(file, problems).message).length).to.be.below(2_000_000);
      }
    });
  }

  it('are refused where they are too large, by a message that says how large they may be', () => {
    const file = fileOf(`# ${'x'.repeat(50_000_000)}`);
    const [problem] = problemsOf(() => loadRulesFile(file));
    expect(problem!.consequence).to.contain('50000002 bytes');
    expect(problem!.allowed).to.contain('262144 bytes');
  });

  it('are refused where they are no text, no file, or never end', () => {
    const fifo = join(folder, 'fifo.yaml');
    execFileSync('mkfifo', [fifo]);
    for (const file of [fifo, folder, '/dev/zero', '/dev/urandom', fileOf(Buffer.from([0xff, 0xfe, 0x00, 0x80]))]) {
      expect(
        problemsOf(() => loadRulesFile(file)),
        file,
      ).to.have.length(1);
    }
  });
});

describe('the work that a rules file makes', () => {
  function counting<T extends object, Key extends keyof T>(
    object: T,
    key: Key,
    act: () => void,
    cost: (self: unknown, args: unknown[], result: unknown) => number = () => 1,
  ): number {
    const original = object[key] as (...args: unknown[]) => unknown;
    let steps = 0;
    const counted = function (this: unknown, ...args: unknown[]): unknown {
      const result = original.apply(this, args);
      steps += cost(this, args, result);
      return result;
    };
    Object.assign(object, { [key]: counted });
    try {
      act();
    } finally {
      Object.assign(object, { [key]: original });
    }
    return steps;
  }

  it('grows as its text does where references to variables have no end', () => {
    const looked = (self: unknown, [, from]: unknown[], found: unknown) =>
      ((found as number) < 0 ? String(self).length : (found as number) + 1) - Number(from ?? 0);
    const texts = [
      '${'.repeat(120_000),
      '${a}'.repeat(60_000),
      '$$'.repeat(120_000),
      '${\n'.repeat(80_000),
      '${}'.repeat(80_000),
    ];
    for (const text of texts) {
      const steps = counting(String.prototype, 'indexOf', () => substitute(text, { a: 'b' }), looked);
      expect(steps, text.slice(0, 4)).to.be.within(1, 4 * text.length);
    }
  });

  it('is one look for 12,000 ranges of one rule, and one for each rule of any number of patterns', () => {
    const ranges = Array.from({ length: 12_000 }, (_, index) => `10.${index >> 8}.${index & 255}.0/24`);
    const set = new RuleSet([checkedSection('rules', { rules: [{ match: { host: ranges }, name: 'inside' }] })]);
    const resolve = (host: string) => set.resolve({ system: 'http', scheme: 'http', host, port: 80 }).name;
    const checks = counting(BlockList.prototype, 'check', () => {
      expect(resolve('10.1.2.3')).to.equal('inside');
      expect(resolve('11.1.2.3')).to.equal('http://11.1.2.3');
      expect(resolve('api.example.com')).to.equal('http://api.example.com');
    });
    expect(checks).to.equal(2);

    const globs = Array.from({ length: 2_000 }, (_, index) => `*-${index}.${'a.'.repeat(index % 60)}a`);
    const many = new RuleSet([checkedSection('rules', { rules: [{ match: { host: globs } }] })]);
    const host = `x.${'a.'.repeat(120)}a`;
    const tests = counting(Matcher.prototype, 'match', () =>
      many.resolve({ system: 'http', scheme: 'http', host, port: 80 }),
    );
    expect(tests).to.equal(1);
  });
});

describe('hostile text before patterns', () => {
  // Of each kind that a regular expression would go through in more ways than there is time for.
  const HOSTS = [
    'a'.repeat(512),
    `${'a'.repeat(510)}.b`,
    '-'.repeat(511),
    'a.'.repeat(256),
    `${'a-'.repeat(255)}x`,
    `${'ab'.repeat(255)}.`,
    'a'.repeat(1_000_000),
  ];
  const PATTERNS = [
    '*a*a*a**b',
    '*a*a*a*b',
    '**a*a*a*',
    '*-*-*-**x',
    '**.*.*.*.x',
    '*a*a*a*a',
    'a*b*a*b**',
    '*.*.*.**',
  ];

  it('is matched in bounded time, however nearly it fits', () => {
    for (const host of PATTERNS) {
      const matcher = new Matcher({ host, name: `http://${host}` });
      for (const name of HOSTS)
        matcher.match({ system: 'http', scheme: 'http', host: name, port: 80 }, normalizeHost(name));
    }
  });

  it('is matched as the regular expression matches it that says the same', () => {
    const random = new Random(11);
    const text = (alphabet: string, below: number) =>
      Array.from({ length: random.below(below) }, () => random.pick([...alphabet])).join('');
    let fitted = 0;
    for (let run = 0; run < 20_000; run++) {
      const pattern = text('ab.**', 7).replace(/\*{3,}/g, '**');
      if (!pattern.includes('*') || pattern.split('**').length > 2 || pattern.endsWith('.')) continue;
      const source = pattern.replace(/\*\*|[*.]/g, (part) => ({ '**': '(.+)', '*': '([^.]+)', '.': '\\.' })[part]!);
      const host = text('aab.', 9);
      const expected = new RegExp(`^${source}$`).exec(host)?.slice(1);
      const matcher = new Matcher({ host: pattern });
      const found = matcher.match({ system: 'http', scheme: 'http', host, port: 80 }, host);
      expect(found, `${pattern} ${host}`).to.deep.equal(expected);
      if (found !== undefined) fitted++;
    }
    expect(fitted).to.be.greaterThan(1_000);
  });

  it('in a statement is read in one way, however many comments it begins with', () => {
    const beginnings = [
      '/*a*/'.repeat(50_000),
      '/**/ '.repeat(50_000),
      '/***/'.repeat(50_000),
      '--\n'.repeat(50_000),
      ' ; '.repeat(50_000),
      `/*${'*'.repeat(100_000)}/`,
      '/*'.repeat(50_000),
      '-- /* \n /* -- */'.repeat(10_000),
    ];
    for (const beginning of beginnings) {
      for (const judge of [cleansUp, begins, mayBegin]) expect(judge(`${beginning} update x`)).to.equal(false);
    }
    expect(cleansUp(`${beginnings[0]!}${beginnings[1]!}${beginnings[2]!}${beginnings[3]!} commit`)).to.equal(true);
    expect(begins('/* a * b ** c / */ -- d\n begin')).to.equal(true);
  });

  it('as a name for rules and targets is no property of any object', () => {
    const rules = new RuleSet([checkedSection('rules', { rules: [{ match: { host: '**' }, name: 'x-$1' }] })]);
    for (const host of ['__proto__', 'constructor', 'toString', '$1', '$&', '']) {
      const { name } = rules.resolve({ system: 'http', scheme: 'http', host, port: 80 });
      expect(name).to.equal(host === '' ? 'http://' : `x-${host.toLowerCase()}`);
    }
    for (const url of ['constructor://x', '__proto__://x', 'toString://x', 'javascript:alert(1)', '', 'http://']) {
      expect(parseTarget(url), url).to.equal(undefined);
    }
  });
});
