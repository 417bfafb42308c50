import { expect } from 'chai';
import { ConfigError } from '../../src/breaker/errors.js';
import { parseRules } from '../../src/rules/load.js';

const SECRET = 'sk-live-0123456789';

function messageOf(text: string, env: NodeJS.ProcessEnv): string {
  try {
    parseRules('rules.yaml', text, env);
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error('It was accepted.');
}

describe('secrets of the environment', () => {
  it('cannot be put into rules by a variable that holds one by its name', () => {
    for (const name of ['KEY', 'API_KEY', 'DB_PASSWORD', 'PGPASSWORD', 'AWS_SECRET', 'x_token', 'MY_CREDENTIALS']) {
      for (const text of [
        `rules: [{ match: { host: a }, name: "\${${name}}" }]`,
        `rules: [{ match: { host: "x-\${env:${name}}" } }]`,
        `defaults:\n  openDuration: \${${name}:-30s}`,
        `mode: "\${A:-off}\${${name}}"`,
      ]) {
        const message = messageOf(text, { [name]: SECRET });
        expect(message, text).to.contain(name).and.to.contain('secret');
        expect(message).not.to.contain(SECRET);
      }
    }
  });

  it('are not what other variables hold', () => {
    for (const name of ['KEYS', 'TOKENIZER', 'PASSENGER', 'KEY_NAME', 'APIKEY', 'HOST']) {
      expect(() => parseRules('r.yaml', `rules: [{ match: { host: "\${${name}}" } }]`, { [name]: 'a' })).not.to.throw();
    }
  });

  it('are not shown by errors about a value that came from any variable', () => {
    const bad = [
      'defaults: { openDuration: "${VALUE}" }',
      'defaults:\n  failureThreshold: ${VALUE}',
      'mode: "${VALUE}"',
      'rules: [{ match: { host: "https://${VALUE}:8080/x" } }]',
      'rules: [{ match: { host: "${VALUE}:8080" } }]',
      'rules: [{ match: { host: ["a", "${VALUE}/99"] } }]',
      'rules: [{ match: { host: "${VALUE}" }, name: "$1" }]',
      'rules: [{ match: { host: "${VALUE}" } }, { match: { host: "${VALUE}" } }]',
      'rules: "${VALUE}"',
    ];
    for (const text of bad) {
      const message = messageOf(text, { VALUE: SECRET });
      expect(message, text).not.to.contain(SECRET);
      expect(message, text).not.to.contain('0123456789');
    }
    expect(messageOf('mode: "${VALUE}"', { VALUE: SECRET })).to.contain('got "${VALUE}"');
  });
});

describe('a number without a unit', () => {
  it('is refused in a file where it is too short to be meant in milliseconds', () => {
    for (const key of ['openDuration', 'maxOpenDuration', 'halfOpenTimeout']) {
      for (const text of [`defaults: { ${key}: 30 }`, `rules: [{ match: { host: a }, ${key}: 99 }]`]) {
        expect(messageOf(text, {}), text).to.match(/Write the unit: (30|99)s, or (30|99)ms/);
      }
      expect(messageOf(`defaults:\n  ${key}: \${SOME}`, { SOME: '30' })).to.contain('Write the unit');
    }
    expect(parseRules('r.yaml', 'defaults: { openDuration: 30ms, maxOpenDuration: 100 }', {})).to.deep.equal({
      defaults: { openDuration: '30ms', maxOpenDuration: 100 },
    });
  });
});
