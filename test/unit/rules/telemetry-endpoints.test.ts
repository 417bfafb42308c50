import { expect } from 'chai';
import { checkedSection } from '../../../src/rules/live-rules.js';
import { RuleSet } from '../../../src/rules/rule-set.js';
import type { Rule } from '../../../src/rules/rule.js';
import { isTelemetryEndpoint, isTelemetryRequest } from '../../../src/rules/telemetry-endpoints.js';
import { target } from '../../support/targets.js';

describe('telemetry endpoints', () => {
  for (const url of [
    'https://o123.ingest.us.sentry.io',
    'https://sentry.io',
    'http://localhost:8126',
    'http://collector:4318',
    'https://0123abc.apm.eu-west-1.aws.cloud.es.io',
    'https://collector.eu01.nr-data.net',
    'https://otlp-gateway-prod-eu-west-0.grafana.net',
    'https://xray.eu-central-1.amazonaws.com',
  ]) {
    it(`are known: ${url}`, () => expect(isTelemetryEndpoint(target(url))).to.equal(true));
  }

  for (const url of [
    'https://api.example.com',
    'https://notsentry.io',
    'https://sentry.io.example.com',
    'http://vault:8200',
    'redis://cache:4317',
    'https://s3.eu-central-1.amazonaws.com',
  ]) {
    it(`are no others: ${url}`, () => expect(isTelemetryEndpoint(target(url))).to.equal(false));
  }

  it('are known by the headers of agents, wherever these lead', () => {
    const agents = [
      { 'x-sentry-auth': 'Sentry' },
      { 'datadog-meta-lang': 'nodejs' },
      { 'user-agent': 'apm-agent-nodejs/4' },
    ];
    for (const headers of agents as Record<string, string>[]) {
      expect(isTelemetryRequest((name) => headers[name])).to.equal(true);
    }
    expect(isTelemetryRequest(() => undefined)).to.equal(false);
    expect(isTelemetryRequest((name) => (name === 'user-agent' ? 'node' : undefined))).to.equal(false);
  });

  describe('under rules', () => {
    const agent = target('http://localhost:8126');
    const modeUnder = (rules: readonly Rule[], mode?: 'enforce' | 'observe' | 'off') =>
      new RuleSet([checkedSection('rules', { mode: 'enforce', rules })], mode).resolve(agent).config.mode;

    it('are observed, even where the mode is enforce, unless it is off', () => {
      expect(modeUnder([])).to.equal('observe');
      expect(modeUnder([], 'enforce')).to.equal('observe');
      expect(modeUnder([], 'off')).to.equal('off');
    });

    it('are what a rule for them says', () => {
      expect(modeUnder([{ match: { port: 8126 } }])).to.equal('enforce');
    });

    it('are explained', () => {
      const { options } = new RuleSet().explain(agent);
      expect(options.find(({ key }) => key === 'mode')).to.deep.equal({
        key: 'mode',
        value: 'observe',
        source: 'known telemetry endpoint',
      });
    });
  });
});
