import { expect } from 'chai';
import { ConfigError } from '../../src/breaker/errors.js';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findUnknownVariables, readEnvironment, resourceAttributes, VARIABLES } from '../../src/environment.js';
import { ROOT } from '../support/child.js';

const DEFAULTS = {
  mode: undefined,
  config: undefined,
  configStrict: true,
  watch: true,
  metrics: 'auto',
  events: 'span',
  prometheusHost: '127.0.0.1',
  prometheusPort: 9464,
  console: 'local',
  consolePort: undefined,
  consoleHosts: [],
  adminToken: undefined,
  health: 'any_open',
  fleetMode: undefined,
  fleetUrl: undefined,
  fleetDomain: undefined,
  traces: 'auto',
  tracesRedact: true,
  underNext: false,
};

describe('readEnvironment', () => {
  it('has a default for everything', () => expect(readEnvironment({})).to.deep.equal(DEFAULTS));

  it('takes an empty variable for one that is not set', () => {
    const names = ['BREAKER_CONFIG', 'BREAKER_MODE', 'BREAKER_METRICS', 'EXPORTER_PROMETHEUS_HOST'];
    const env = Object.fromEntries(
      [...names, 'EXPORTER_PROMETHEUS_PORT', 'SDK_DISABLED'].map((name) => [`OTEL_${name}`, '']),
    );
    expect(readEnvironment(env)).to.deep.equal(DEFAULTS);
  });

  it('reads what is set', () => {
    expect(
      readEnvironment({
        OTEL_BREAKER_CONFIG: 'rules/prod.yaml',
        OTEL_BREAKER_MODE: ' Observe ',
        OTEL_BREAKER_METRICS: 'off',
        OTEL_BREAKER_EVENTS: 'both',
        OTEL_EXPORTER_PROMETHEUS_HOST: '0.0.0.0',
        OTEL_EXPORTER_PROMETHEUS_PORT: ' 0 ',
        OTEL_BREAKER_CONSOLE_PORT: '9500',
      }),
    ).to.deep.equal({
      ...DEFAULTS,
      mode: 'observe',
      config: 'rules/prod.yaml',
      metrics: 'off',
      events: 'both',
      prometheusHost: '0.0.0.0',
      prometheusPort: 0,
      consolePort: 9500,
    });
  });

  it('publishes nothing where the SDK is disabled', () => {
    expect(readEnvironment({ OTEL_SDK_DISABLED: 'TRUE', OTEL_BREAKER_METRICS: 'auto' }).metrics).to.equal('off');
    expect(readEnvironment({ OTEL_SDK_DISABLED: 'no' }).metrics).to.equal('auto');
  });

  it('names every variable that is bad, with its value and what is allowed', () => {
    const env = { OTEL_BREAKER_MODE: 'shadow', OTEL_BREAKER_METRICS: 'yes', OTEL_EXPORTER_PROMETHEUS_PORT: '65536' };
    expect(() => readEnvironment(env)).to.throw(
      ConfigError,
      [
        'environment: OTEL_BREAKER_METRICS: got "yes"; it would not be known whether to publish metrics. Use "auto" or "off".',
        'environment: OTEL_BREAKER_MODE: got "shadow"; it would not be known whether to reject calls. Use "enforce", "observe" or "off".',
        'environment: OTEL_EXPORTER_PROMETHEUS_PORT: got "65536"; metrics could be scraped nowhere. Use a port from 0 (any free one) to 65535.',
      ].join('\n'),
    );
  });

  it('does not take a token that no request could bring, and keeps it out of its message', () => {
    expect(() => readEnvironment({ OTEL_BREAKER_ADMIN_TOKEN: 'two words' })).to.throw(
      ConfigError,
      /^environment: OTEL_BREAKER_ADMIN_TOKEN: got "\(secret\)"; no request could ever bring it\. Use a text without white space\.$/,
    );
  });

  it('does not take a token that is short enough to be guessed', () => {
    expect(() => readEnvironment({ OTEL_BREAKER_ADMIN_TOKEN: 'fifteen-letters' })).to.throw(
      ConfigError,
      'OTEL_BREAKER_ADMIN_TOKEN: got "(secret)"; it is short enough to be guessed. Use 16 characters or more.',
    );
    expect(readEnvironment({ OTEL_BREAKER_ADMIN_TOKEN: 'sixteen-letters!' }).adminToken).to.equal('sixteen-letters!');
  });

  for (const port of ['-1', '80a', '1e3', '94.64', 'http']) {
    it(`does not take ${port} for a port`, () => {
      expect(() => readEnvironment({ OTEL_EXPORTER_PROMETHEUS_PORT: port })).to.throw(ConfigError, `got "${port}"`);
    });
  }
});

describe('resourceAttributes', () => {
  it('are those of the environment, the name of the service before all', () => {
    expect(resourceAttributes({})).to.deep.equal({});
    const given = 'service.name=other, host.name = a%20b ,=x,y,bad=%zz,empty=';
    expect(resourceAttributes({ OTEL_RESOURCE_ATTRIBUTES: given, OTEL_SERVICE_NAME: 'shop' })).to.deep.equal({
      'service.name': 'shop',
      'host.name': 'a b',
      bad: '%zz',
      empty: '',
    });
  });
});

describe('findUnknownVariables', () => {
  it('names what is near, or all there are', () => {
    const env = { OTEL_BREAKER_MDOE: 'observe', OTEL_BREAKER_MODE: 'observe', OTELBREAKER_HEALTH: 'never', PATH: '' };
    expect(findUnknownVariables(env)).to.deep.equal([
      'OTEL_BREAKER_MDOE is unknown and has no effect. Did you mean OTEL_BREAKER_MODE?',
      'OTELBREAKER_HEALTH is unknown and has no effect. Did you mean OTEL_BREAKER_HEALTH?',
    ]);
    expect(findUnknownVariables({ OTEL_BREAKER_COLOUR: 'red' })[0]).to.contain('Known are OTEL_BREAKER_MODE, ');
  });

  it('knows every variable that the code names, and every one that it knows is in the documents', () => {
    const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(ROOT, 'src', file), 'utf8'));
    const named = sources.join('\n').match(/\bOTEL_BREAKER_[A-Z_]*[A-Z]\b/g)!;
    expect(VARIABLES).to.include.members(named);
    const documents = ['docs/configuration.md', 'docs/quick-reference.md'].map((file) =>
      readFileSync(join(ROOT, file), 'utf8'),
    );
    for (const name of named) for (const text of documents) expect(text).to.contain(`\`${name}\``);
  });
});
