import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import Ajv from 'ajv';
import { expect } from 'chai';
import { parse, stringify } from 'yaml';
import { ConfigError } from '../../../src/breaker/errors.js';
import { OPTIONS, type OptionKey } from '../../../src/breaker/options.js';
import { rulesJsonSchema } from '../../../scripts/json-schema.js';
import { parseRules } from '../../../src/rules/load.js';
import type { RulesConfig } from '../../../src/rules/rule.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import type { Target } from '../../../src/target.js';
import { ROOT } from '../../support/child.js';
import { Random } from '../../support/random.js';

const TARGETS: readonly Target[] = [
  { system: 'http', scheme: 'https', host: 'api.example.com', port: 443 },
  { system: 'redis', scheme: 'redis', host: '10.1.2.3', port: 6379 },
  { system: 'postgresql', scheme: 'postgresql', host: 'eu.db.internal', port: 5432, database: 'orders' },
];

const VALID = `mode: observe
defaults: { openDuration: 30s, minimumCalls: 5 }
maxBreakers: 50
rules:
  - match: { system: http, host: ["*.example.com", 10.0.0.0/8], port: 443 }
    name: api
    preset: llmService
    failureStatuses: [5xx, "!501", 429]
  - match:
      host: '**.db.internal' # a comment
      database: orders
    failureRateThreshold: 0.25
    countTimeouts: false
    whenOpen: respond
`;

/** What either judge may say: the problems, or the rules. */
function read(file: string, text: string): RulesConfig | ConfigError {
  try {
    return parseRules(file, text, { SET: 'value' });
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

const PIECES = [
  ...':,[]{}#&*!|>\'"%@`-?$~\n\t\0\u2028',
  '  ',
  '- ',
  ': ',
  '---\n',
  '<<: *a',
  '&a ',
  '*a',
  '!!str ',
  '${SET}',
  '${UNSET}',
  '${',
  '$$',
  '__proto__: ',
  'null',
  '.inf',
  '1e999',
  '0x1F',
  '-0',
  '\r\n',
  '\uFEFF',
  '\uD800',
  'rules:\n',
  'match: {}',
  '[[[[[[',
  '{a: {b: ',
];

/** One text with a few accidents. */
function damage(text: string, random: Random): string {
  let damaged = text;
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(damaged.length + 1);
    const length = random.below(random.pick([2, 8, 60]));
    const [before, cut, after] = [damaged.slice(0, at), damaged.slice(at, at + length), damaged.slice(at + length)];
    damaged = random.pick([
      () => before + after,
      () => before + random.pick(PIECES) + cut + after,
      () => before + random.pick(PIECES) + after,
      () => before + cut + cut + after,
      () => before + after.slice(0, random.below(after.length + 1)) + cut + after,
      () => before,
    ])();
  }
  return damaged;
}

describe('malformed rules files', () => {
  const validate = new Ajv({ allowUnionTypes: true }).compile(rulesJsonSchema());

  it('of 8,000 texts with accidents, none crashes or hangs, and what is accepted another validator accepts too', function () {
    this.timeout(0);
    const gallery = join(ROOT, 'test/fixtures/bad-rules');
    const texts = Array<string>(60)
      .fill(VALID)
      .concat(JSON.stringify(parse(VALID), undefined, 1));
    for (const name of readdirSync(gallery)) {
      if (extname(name) !== '.txt' && name !== 'too-deep.yaml') texts.push(readFileSync(join(gallery, name), 'utf8'));
    }
    const random = new Random(20_261);
    let accepted = 0;
    let rejected = 0;
    for (let run = 0; run < 8_000; run++) {
      const text = damage(random.pick(texts), random);
      const file = random.next() < 0.2 ? 'rules.json' : 'rules.yaml';
      const result = read(file, text);
      if (result instanceof ConfigError) {
        rejected++;
        const lines = text.split(/\r\n|\n|\r/).length;
        for (const { at, consequence, allowed } of result.problems) {
          expect(consequence, text).to.not.equal('');
          expect(allowed, text).to.match(/[.?]$/);
          expect(at!.line, text).to.be.within(1, lines);
          expect(at!.column, text).to.be.within(1, text.length + 1);
        }
      } else {
        accepted++;
        expect(validate(result), `${text}\n${JSON.stringify(validate.errors)}`).to.be.true;
        const rules = new RuleSet([{ origin: file, config: result }]);
        for (const target of TARGETS) expect(rules.resolve(target).config.failureThreshold).to.be.at.least(1);
      }
    }
    // Both judges were asked: an accident can also leave a file that is right, in a comment for instance.
    expect(accepted).to.be.greaterThan(100);
    expect(rejected).to.be.greaterThan(4_000);
  });

  const WRONG: Readonly<Record<(typeof OPTIONS)[OptionKey]['kind'], readonly unknown[]>> = {
    count: [0, -1, 1.5, '3', null, true, [], {}, Infinity, NaN, 2 ** 60],
    share: [-0.1, 1.1, 50, '0.5', null, [], Infinity, NaN],
    factor: [0.9, 0, -1, '2', null, Infinity, NaN],
    duration: [-1, '10', 'soon', '1d', '-5s', '', null, true, [], ['1s'], {}, Infinity],
    window: [99, '10', '0 calls', '1.5 calls', '10001 calls', '-1 calls', '50ms', null, true, [], {}],
    quorum: [0, 1.5, '3', '0 of 5', '6 of 5', '3 of', 'all', null, true, [], {}],
    flag: ['yes', 'true', 0, 1, null, []],
    choice: ['', 'maybe', 1, null, true, [], {}],
    statuses: [[], 99, 600, '6xx', '!', '50x', null, {}, [200, 'ok'], [null], [[500]], 200.5],
    answer: ['', 1, null, true, [], { statuz: 1 }, { status: 700 }, { headers: [] }, { body: '', file: 'a' }],
    function: ['() => true', null, 1, {}],
  };

  it('of 2,000 files with one wrong value or key, none is accepted, and each is told where it is wrong', function () {
    this.timeout(0);
    const random = new Random(7);
    for (let run = 0; run < 2_000; run++) {
      const config = parse(VALID) as { defaults: object; rules: [{ match: object }, { match: object }] };
      const rule = random.below(2);
      const key = random.pick(Object.keys(OPTIONS) as OptionKey[]);
      const wrong = random.pick(WRONG[OPTIONS[key].kind]);
      const [place, path, keyAndValue] = random.pick<[object, string, readonly [string, unknown]]>([
        [config.defaults, 'defaults', [key, wrong]],
        [config.rules[rule]!, `rules[${rule}]`, [key, wrong]],
        [config.rules[rule]!, `rules[${rule}]`, [random.pick(['Mode', 'open', 'matches', 'constructor']), 1]],
        [
          config.rules[rule]!.match,
          `rules[${rule}].match`,
          ['port', random.pick([0, 65_536, '80', null, [], [0], 1.5])],
        ],
        [
          config.rules[rule]!.match,
          `rules[${rule}].match`,
          ['host', random.pick(['', 5, null, [], [[]], 'http://a', '1.2.3.4/99'])],
        ],
        [
          config.rules[rule]!.match,
          `rules[${rule}].match`,
          ['system', random.pick(['', 'kafka', null, [], ['https']])],
        ],
        [config.rules[rule]!.match, `rules[${rule}].match`, [random.pick(['hosts', 'toString', 'url']), 'x']],
        [config, '', [random.pick(['rules', 'defaults']), random.pick([1, 'x', true, null])]],
        [config, '', ['maxBreakers', random.pick([0, -1, 1.5, '9', null, Infinity])]],
      ]);
      Object.assign(place, { [keyAndValue[0]]: keyAndValue[1] });
      const result = read('rules.yaml', stringify(config));
      const where = path === '' ? keyAndValue[0] : `${path}.${keyAndValue[0]}`;
      expect(result, `${where}: ${String(keyAndValue[1])}`).to.be.instanceOf(ConfigError);
      const paths = (result as ConfigError).problems.map((problem) => problem.path);
      expect(
        paths.some((found) => found.startsWith(where)),
        `${where} in ${paths.join()}`,
      ).to.be.true;
    }
  });
});
