import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import Ajv from 'ajv';
import { expect } from 'chai';
import { parse } from 'yaml';
import { ConfigError } from '../../../src/breaker/errors.js';
import { rulesJsonSchema } from '../../../scripts/json-schema.js';
import { parseRules } from '../../../src/rules/load.js';
import { ROOT } from '../../support/child.js';

const GALLERY = join(ROOT, 'test/fixtures/bad-rules');
const FILES = readdirSync(GALLERY).filter((name) => extname(name) !== '.txt');

function problemsOf(name: string): string {
  try {
    parseRules(name, readFileSync(join(GALLERY, name), 'utf8'), {});
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error(`${name} was accepted`);
}

describe('the gallery of bad rules files', () => {
  it('has at least 25 of them', () => {
    expect(FILES.length).to.be.at.least(25);
  });

  for (const name of FILES) {
    it(`says what is wrong with ${name}`, () => {
      const golden = join(GALLERY, `${name}.txt`);
      const problems = problemsOf(name);
      // To write them anew after a change on purpose: UPDATE=1 npx mocha, then read the diff.
      if (process.env.UPDATE === '1') writeFileSync(golden, `${problems}\n`);
      expect(`${problems}\n`).to.equal(readFileSync(golden, 'utf8'));
    });
  }
});

describe('the JSON schema', () => {
  const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(rulesJsonSchema());

  const examples = readdirSync(join(ROOT, 'examples'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => /otel-breaker[^/]*\.(ya?ml|json)$/.test(name) && !name.includes('node_modules'),
  );

  it('is tried on the examples', () => {
    expect(examples).to.include('otel-breaker.yaml');
  });

  for (const name of examples) {
    it(`accepts examples/${name}, and so does the loader`, () => {
      const text = readFileSync(join(ROOT, 'examples', name), 'utf8');
      expect(validate(parse(text)), JSON.stringify(validate.errors)).to.be.true;
      expect(parseRules(name, text, {})).to.be.an('object');
    });
  }

  // Wrong in form, as far as a schema can say it. The others are YAML that cannot be read, or wrong in meaning.
  const STRUCTURAL = [
    'unknown-key',
    'unknown-root-key',
    'unknown-match-key',
    'option-at-root',
    'several-problems',
    'threshold-zero',
    'percent',
    'durations',
    'backoff',
    'probes',
    'preset',
    'flag',
    'statuses',
    'is-failure',
    'no-match',
    'match-text',
    'host-number',
    'port',
    'system',
    'name-number',
    'rules-map',
    'rules-items',
    'defaults-list',
    'empty',
    'just-text',
    'list',
    'null-values',
  ];
  for (const name of STRUCTURAL) {
    it(`rejects ${name}.yaml of the gallery`, () => {
      expect(validate(parse(readFileSync(join(GALLERY, `${name}.yaml`), 'utf8')))).to.be.false;
    });
  }
});
