import { expect } from 'chai';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { wantsTraces } from '../../../../src/telemetry/events/standalone-tracing.js';

const fixture = (name: string) => join(__dirname, '../../../fixtures/coexistence/matrix', name);

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
    it(does, () => expect(wantsTraces(env, [], 'app.js')).to.equal(askedBy));
  }

  for (const [exporter, wanted] of [
    ['otlp', true],
    ['console', true],
    ['otlp, console', true],
    ['none', false],
    ['otlp,none', false],
    ['', false],
    [' ', false],
    [undefined, false],
  ] as const) {
    it(`${wanted ? 'is wanted' : 'is not wanted'} where OTEL_TRACES_EXPORTER is ${JSON.stringify(exporter)}`, () => {
      expect(wantsTraces({ OTEL_TRACES_EXPORTER: exporter }, [], 'app.js')).to.equal(
        wanted ? 'OTEL_TRACES_EXPORTER' : undefined,
      );
    });
  }

  const asked = { OTEL_TRACES_EXPORTER: 'otlp' };

  it('is not wanted where OpenTelemetry is disabled', () => {
    expect(wantsTraces({ ...asked, OTEL_SDK_DISABLED: 'true' }, [])).to.equal(undefined);
  });

  for (const [what, args] of Object.entries({
    'auto-instrumentations': ['--require', '@opentelemetry/auto-instrumentations-node/register'],
    'a file with NodeSDK': ['--import', fixture('sdk.mjs')],
    'a file with NodeSDK, as URL': ['--import', pathToFileURL(fixture('sdk.mjs')).href],
    'a file with NodeSDK, in one word': [`--require=${fixture('sdk.cjs')}`],
  })) {
    it(`is not wanted where the command line brings ${what}`, () => {
      expect(wantsTraces(asked, args)).to.equal(undefined);
      expect(wantsTraces({ ...asked, NODE_OPTIONS: args.join(' ') }, [])).to.equal(undefined);
    });
  }

  it('is not wanted where the program brings NodeSDK, or a file that it loads', () => {
    expect(wantsTraces(asked, [], fixture('sdk.mjs'))).to.equal(undefined);
    expect(wantsTraces(asked, [], fixture('app.cjs'))).to.equal(undefined);
    expect(wantsTraces(asked, [], fixture('calls.cjs'))).to.equal('OTEL_TRACES_EXPORTER');
  });

  it("is wanted where the command line has the loader's hook alone, which ES modules need", () => {
    expect(wantsTraces(asked, ['--import', fixture('hooks.mjs')])).to.equal('OTEL_TRACES_EXPORTER');
    expect(wantsTraces(asked, ['--experimental-loader=@opentelemetry/instrumentation/hook.mjs'])).to.equal(
      'OTEL_TRACES_EXPORTER',
    );
    expect(wantsTraces(asked, ['--require', 'otel-breaker/register', '--import', './no-such-file.mjs'])).to.equal(
      'OTEL_TRACES_EXPORTER',
    );
  });
});
