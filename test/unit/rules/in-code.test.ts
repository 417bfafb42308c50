import { expect } from 'chai';
import { getBreakerInstrumentations, HttpBreakerInstrumentation } from '../../../instrumentations/index.js';
import { ConfigError, configure, globalRegistry } from '../../../src/index.js';
import type { Guard } from '../../../src/guard/guard.js';
import type { RulesConfig } from '../../../src/rules/rule.js';
import { getRuntime } from '../../../src/runtime.js';
import { target } from '../../support/targets.js';

const API = target('https://in-code.example.com');

/** The guard behind an instrumentation, which only its patches use. */
function guardOf(instrumentation: object): Guard {
  return (instrumentation as { guard: Guard }).guard;
}

function thresholdUnder(guard: Guard): number {
  globalRegistry.clear();
  return guard.breakerOf(API).config.failureThreshold;
}

function ruleWith(failureThreshold: number): RulesConfig {
  return { rules: [{ match: { host: API.host }, failureThreshold }] };
}

describe('rules in code', () => {
  afterEach(() => {
    configure({});
    globalRegistry.clear();
  });

  it('take effect on breakers that exist, and are taken back', () => {
    const breaker = getRuntime().guard.breakerOf(API);
    configure(ruleWith(7));
    expect(breaker.config.failureThreshold).to.equal(7);
    configure({});
    expect(breaker.config.failureThreshold).to.equal(5);
  });

  it('of an instrumentation come before those of the process, for it alone', () => {
    configure(ruleWith(7));
    const own = new HttpBreakerInstrumentation({ enabled: false, ...ruleWith(8) });
    const common = new HttpBreakerInstrumentation({ enabled: false });
    expect(thresholdUnder(guardOf(own))).to.equal(8);
    expect(thresholdUnder(guardOf(common))).to.equal(7);
    own.setConfig({ enabled: false, ...ruleWith(9) });
    expect(thresholdUnder(guardOf(own))).to.equal(9);
    own.setConfig({ enabled: false });
    expect(thresholdUnder(guardOf(own))).to.equal(7);
  });

  it('of all instrumentations are given once', () => {
    const all = getBreakerInstrumentations({ enabled: false, ...ruleWith(6) });
    expect(all.map(({ instrumentationName }) => instrumentationName)).to.include('otel-breaker/http');
    expect(new Set(all.map(guardOf)).size).to.equal(1);
    expect(thresholdUnder(guardOf(all[0]!))).to.equal(6);
  });

  it('set the threshold of panic for the process, not for one instrumentation', () => {
    configure({ panicThreshold: 0.9 });
    expect(getRuntime().panic.threshold).to.equal(0.9);
    configure({});
    expect(getRuntime().panic.threshold).to.equal(0.5);
    expect(() => new HttpBreakerInstrumentation({ enabled: false, panicThreshold: 0.9 })).to.throw(
      ConfigError,
      'otel-breaker/http: panicThreshold: got 0.9; it is about all targets of the process',
    );
  });

  it('throw a ConfigError where they are bad, and change nothing', () => {
    configure(ruleWith(7));
    expect(() => configure(ruleWith(0))).to.throw(ConfigError, 'configure(): rules[0].failureThreshold: got 0;');
    expect(() => getBreakerInstrumentations(ruleWith(0))).to.throw(
      ConfigError,
      'getBreakerInstrumentations(): rules[0]',
    );
    expect(() => new HttpBreakerInstrumentation(ruleWith(0))).to.throw(ConfigError, 'otel-breaker/http: rules[0]');
    expect(thresholdUnder(getRuntime().guard)).to.equal(7);
  });
});
