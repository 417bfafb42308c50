import { expect } from 'chai';
import { wantsTraces } from '../../../src/telemetry/standalone-tracing.js';

describe('stand-alone tracing', () => {
  const local = { OTEL_BREAKER_TRACES: 'local' };
  const cases: readonly [string, NodeJS.ProcessEnv, string | undefined][] = [
    ['is not made unasked', {}, undefined],
    ['is not made with auto alone', { OTEL_BREAKER_TRACES: 'auto' }, undefined],
    ['is made for the console', { OTEL_BREAKER_TRACES: ' Local ' }, 'OTEL_BREAKER_TRACES'],
    ['is made for exporters', { OTEL_TRACES_EXPORTER: 'otlp' }, 'OTEL_TRACES_EXPORTER'],
    [
      'prefers exporters, which the console sees as well',
      { OTEL_TRACES_EXPORTER: 'otlp', ...local },
      'OTEL_TRACES_EXPORTER',
    ],
    [
      'is made for the console alone where exporters are none',
      { OTEL_TRACES_EXPORTER: 'none', ...local },
      'OTEL_BREAKER_TRACES',
    ],
    ['is not made with the SDK disabled', { OTEL_SDK_DISABLED: 'true', ...local }, undefined],
    [
      'is left to what the command line loads',
      { NODE_OPTIONS: '--require @opentelemetry/auto-instrumentations-node/register', ...local },
      undefined,
    ],
  ];
  for (const [does, env, askedBy] of cases) {
    it(does, () => expect(wantsTraces(env, [])).to.equal(askedBy));
  }
});
