import { expect } from 'chai';
import { parseRules } from '../../../src/rules/load.js';
import { substitute } from '../../../src/rules/substitute.js';

// The examples of OpenTelemetry's specification of environment variable substitution, as far as they are about text.
const ENV = { STRING_VALUE: 'value', NUMBER: '7', EMPTY: '', REFERENCE: '${STRING_VALUE}', MAP: 'a: b\nmode: off' };

describe('substitute', () => {
  const TEXTS: readonly [source: string, text: string][] = [
    ['${STRING_VALUE}', 'value'],
    ['${env:STRING_VALUE}', 'value'],
    ['foo ${STRING_VALUE} ${NUMBER}', 'foo value 7'],
    ['${UNSET:-fallback}', 'fallback'],
    ['${EMPTY:-fallback}', 'fallback'],
    ['${STRING_VALUE:-fallback}', 'value'],
    ['${UNSET:-}', ''],
    ['${UNSET:-a:-b}', 'a:-b'],
    ['$${STRING_VALUE}', '${STRING_VALUE}'],
    ['$$${STRING_VALUE}', '$value'],
    ['$$$${STRING_VALUE}', '$${STRING_VALUE}'],
    ['a $$ b', 'a $ b'],
    ['a $ b $1', 'a $ b $1'],
    ['${REFERENCE}', '${STRING_VALUE}'],
  ];
  for (const [source, text] of TEXTS) {
    it(`makes ${JSON.stringify(text)} of ${source}`, () => {
      const result = substitute(source, ENV);
      expect(result.text).to.equal(text);
      expect(result.invalid).to.be.undefined;
      expect(result.unset).to.be.undefined;
    });
  }

  for (const source of ['${1X}', '${A-B}', '${A:?needed}', '${}', '${ A }', '${A', 'x ${A\n}']) {
    it(`calls ${JSON.stringify(source)} no reference`, () => {
      expect(substitute(source, ENV).invalid).to.be.a('string');
    });
  }

  it('names a variable that is not set and has no default', () => {
    expect(substitute('${A:-x} ${B}', ENV).unset).to.equal('B');
    expect(substitute('${EMPTY}', ENV).unset).to.equal('EMPTY');
  });
});

describe('variables in a rules file', () => {
  it('get their type from what is put in, unless they stand in quotes', () => {
    const text = [
      'defaults:',
      '  minimumCalls: ${NUMBER}',
      '  countTimeouts: ${UNSET:-false}',
      'rules:',
      '  - { match: { host: "${NUMBER}" } }',
    ].join('\n');
    expect(parseRules('rules.yaml', text, ENV)).to.deep.equal({
      defaults: { minimumCalls: 7, countTimeouts: false },
      rules: [{ match: { host: '7' } }],
    });
  });

  it('cannot bring structure in', () => {
    const text = 'rules:\n  - match: { host: a.example.com }\n    name: ${MAP}\n';
    expect(parseRules('rules.yaml', text, ENV).rules![0]!.name).to.equal('a: b\nmode: off');
  });

  it('are put into values, not into keys', () => {
    expect(() => parseRules('rules.yaml', '${STRING_VALUE}: 1', ENV)).to.throw('this key is unknown');
  });

  it('are put into JSON as text', () => {
    const text = '{ "rules": [{ "match": { "host": "${STRING_VALUE}.example.com" } }] }';
    expect(parseRules('rules.json', text, ENV).rules![0]!.match.host).to.equal('value.example.com');
  });
});
