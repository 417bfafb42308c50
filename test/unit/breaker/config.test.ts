import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { checkOptions, resolveConfig } from '../../../src/breaker/config.js';
import { ConfigError } from '../../../src/breaker/errors.js';
import { OPTIONS, type BreakerOptions, type OptionKey } from '../../../src/breaker/options.js';
import { presets } from '../../../src/breaker/presets.js';

const count = [0, -1, 1.5, NaN, Infinity, 2 ** 53, '3', true, null, [], {}];
const share = [0, -0.1, 1.01, 50, NaN, Infinity, '0.5', true, null];
const duration = [0, -1, NaN, Infinity, '', '5', '0s', '-3s', '5 days', 's', '1.s', true, null, {}, 10n];
const choice = ['', 'Off', 'toString', 0, true, null, []];
const flag = ['true', 0, 1, null, 'yes'];

const BAD: Readonly<Record<OptionKey, readonly unknown[]>> = {
  preset: choice,
  mode: choice,
  failureThreshold: count,
  failureRateThreshold: share,
  minimumCalls: count,
  window: [...duration, 99, '0.05s', '0 calls', '1.5 calls', '10001 calls', { calls: 0 }, { calls: '5' }],
  slowCallDuration: duration,
  slowCallRateThreshold: share,
  initialOpenDuration: [...duration, '61s'],
  openDuration: duration,
  maxOpenDuration: duration,
  openBackoff: [0.99, 0, -2, NaN, Infinity, '2', true, null],
  openJitter: share.filter((value) => value !== 0),
  halfOpenMaxCalls: count,
  successThreshold: [...count, '0 of 5', '6 of 5', '3 of', 'of 5', '3 of 5 calls'],
  halfOpenTimeout: duration,
  recoveryDuration: duration.filter((value) => value !== 0 && value !== '0s'),
  countTimeouts: flag,
  abandonedAfter: [...duration, 'never'],
  failureStatuses: [[], '', 'xx', 99, 600, '6xx', '50x', '5xxx', '!', [500, 'bad'], [null], [[500]], true, null, {}],
  honorRetryAfter: flag,
  whenOpen: [...choice, 'reject'],
  respondWith: [
    ...['', 0, true, null, [], { statuz: 200 }, { status: 199 }, { status: 600 }, { status: '200' }],
    ...[{ headers: [] }, { headers: { 'a b': '1' } }, { headers: { a: 'b\r\nc: d' } }, { headers: { a: null } }],
    ...[{ headers: { 'Content-Length': 3 } }, { body: 1n }, { body: () => 1 }, { body: 'x'.repeat(65_537) }],
    ...[{ file: '' }, { file: 1 }, { body: [], file: 'a.json' }],
  ],
  fleet: flag,
  isFailure: ['true', true, {}, null],
};

const GOOD: Readonly<Record<OptionKey, readonly unknown[]>> = {
  preset: ['default', 'httpApi', 'llmService', 'database', 'notifications', 'cache'],
  mode: ['enforce', 'observe', 'off'],
  failureThreshold: [1, 1_000_000],
  failureRateThreshold: [0.001, 1],
  minimumCalls: [1],
  window: [100, '100ms', '1.5s', '2m', '1h', '10 calls', '10000 calls', { calls: 50 }],
  slowCallDuration: [1, '2 s'],
  slowCallRateThreshold: [0.5, 1],
  initialOpenDuration: [1, '200ms', '60s'],
  openDuration: [1, '5m'],
  maxOpenDuration: ['60s', '1h'],
  openBackoff: [1, 1.5, 10],
  openJitter: [0, 0.5, 1],
  halfOpenMaxCalls: [1, 100],
  successThreshold: [1, 100, '3 of 5', '1 of 1'],
  halfOpenTimeout: [1, '1h'],
  recoveryDuration: [0, 1, '0s', '30s'],
  countTimeouts: [true, false],
  abandonedAfter: [1, '10s', 'off'],
  failureStatuses: [[500], 503, '5xx', ['5XX', '!501', 429, '429']],
  honorRetryAfter: [true, false],
  whenOpen: ['throw', 'respond', 'wait'],
  respondWith: [
    {},
    { status: 204 },
    { headers: { 'X-A': 1 }, body: [] },
    { body: 'x'.repeat(65_536) },
    { file: 'a.json' },
  ],
  fleet: [true, false],
  isFailure: [() => true],
};

function problemWith(options: unknown): string {
  try {
    resolveConfig(options as BreakerOptions, 'here');
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error(`accepted ${JSON.stringify(options)}`);
}

describe('resolveConfig', () => {
  for (const key of Object.keys(OPTIONS) as OptionKey[]) {
    it(`takes good values of ${key}`, () => {
      for (const value of GOOD[key]) expect(checkOptions({ [key]: value }), String(value)).to.deep.equal([]);
    });

    it(`names ${key}, the value, the consequence and what is allowed where a value is bad`, () => {
      for (const value of BAD[key]) {
        expect(problemWith({ [key]: value })).to.match(
          new RegExp(`^here: ${key}: got .+; .+\\. (Use|Did) .+\\.$`, 's'),
        );
      }
    });
  }

  const MESSAGES: readonly (readonly [options: object, message: string])[] = [
    [
      { minimumCalls: 0 },
      'minimumCalls: got 0; the circuit would open on its first failure. Use a whole number of 1 or more.',
    ],
    [
      { halfOpenMaxCalls: 0 },
      'halfOpenMaxCalls: got 0; no probe could ever run: this would never close the circuit. Use a whole number of 1 or more.',
    ],
    [
      { failureThreshold: NaN },
      'failureThreshold: got NaN; calls are counted in whole numbers. Use a whole number of 1 or more.',
    ],
    [
      { failureRateThreshold: 50 },
      'failureRateThreshold: got 50; no share is ever above 1. Use a number above 0 and at most 1: write 50 % as 0.5.',
    ],
    [{ openJitter: -1 }, 'openJitter: got -1; a share is a part of 1. Use a number from 0 to 1.'],
    [
      { openDuration: '5 days' },
      'openDuration: got "5 days"; it is not a duration. Use milliseconds, or a number with a unit like "500ms", "30s" or "2m", of 1 ms or more.',
    ],
    [
      { mode: 'shadow' },
      'mode: got "shadow"; it would not be known whether to reject calls. Use "enforce", "observe" or "off".',
    ],
    [
      { isFailure: 'always' },
      'isFailure: got "always"; it could not judge a failure. Use a function; it can be given in code only.',
    ],
    [
      { countTimeouts: Symbol('yes') },
      'countTimeouts: got Symbol(yes); it would be taken for true or false by accident. Use true or false.',
    ],
    [
      { window: 10n },
      'window: got 10n; it is not a duration. Use milliseconds, or a number with a unit like "500ms", "30s" or "2m", of 100 ms or more.',
    ],
    [
      { failureTreshold: 3 },
      'failureTreshold: got 3; this key is unknown and would have no effect. Did you mean "failureThreshold"?',
    ],
    [
      { halfopenmaxcalls: 3 },
      'halfopenmaxcalls: got 3; this key is unknown and would have no effect. Did you mean "halfOpenMaxCalls"?',
    ],
    [
      { opneDuration: 3 },
      'opneDuration: got 3; this key is unknown and would have no effect. Did you mean "openDuration"?',
    ],
    [
      { constructor: 3 },
      `constructor: got 3; this key is unknown and would have no effect. Known keys are ${Object.keys(OPTIONS).join(', ')}.`,
    ],
    [
      { initialOpenDuration: '30s', preset: 'database' },
      'initialOpenDuration: got "30s"; it is longer than openDuration (10 s), and openings would have to grow to less. Use at most openDuration.',
    ],
    [
      { abandonedAfter: 'never' },
      'abandonedAfter: got "never"; it is not a duration. Use milliseconds, or a number with a unit like "500ms", "30s" or "2m", of 1 ms or more, or "off".',
    ],
    [
      { maxOpenDuration: '10s' },
      'maxOpenDuration: got "10s"; it is shorter than openDuration (60 s), and one of the two would have no effect. Use at least openDuration.',
    ],
    [
      { maxOpenDuration: '10s', openDuration: '11s' },
      'maxOpenDuration: got "10s"; it is shorter than openDuration (11 s), and one of the two would have no effect. Use at least openDuration.',
    ],
    [
      { preset: 'llmService', maxOpenDuration: 119_999 },
      'maxOpenDuration: got 119999; it is shorter than openDuration (120 s), and one of the two would have no effect. Use at least openDuration.',
    ],
  ];
  for (const [options, message] of MESSAGES) {
    it(`says: ${message.slice(0, 80)}…`, () => expect(problemWith(options)).to.equal(`here: ${message}`));
  }

  it('names everything that is wrong at once', () => {
    const error = (() => {
      try {
        return new CircuitBreaker('payments', {
          failureThreshold: 0,
          window: 'soon',
          openDuraton: 1,
        } as BreakerOptions);
      } catch (caught) {
        return caught as ConfigError;
      }
    })();
    expect(error).to.be.instanceOf(ConfigError);
    const { problems, message, name, code } = error as ConfigError;
    expect(problems.map(({ path }) => path)).to.deep.equal(['failureThreshold', 'window', 'openDuraton']);
    expect(message.split('\n').map((line) => line.slice(0, 35))).to.deep.equal([
      'CircuitBreaker "payments": failureT',
      'CircuitBreaker "payments": window: ',
      'CircuitBreaker "payments": openDura',
    ]);
    expect({ name, code }).to.deep.equal({ name: 'ConfigError', code: 'ERR_CIRCUIT_CONFIG' });
  });

  for (const options of [null, [], 'httpApi', 5, () => ({})]) {
    it(`does not take ${typeof options} ${JSON.stringify(options)} for options`, () => {
      expect(problemWith(options)).to.contain('options: got ');
    });
  }

  it('takes undefined for an option that is left out', () => {
    const options = Object.fromEntries(Object.keys(OPTIONS).map((key) => [key, undefined]));
    expect(resolveConfig(options)).to.deep.equal(resolveConfig());
  });

  it('gives durations in milliseconds', () => {
    const config = resolveConfig({
      window: '1.5s',
      slowCallDuration: '500ms',
      openDuration: '2m',
      maxOpenDuration: '1h',
      halfOpenTimeout: 7,
    });
    expect(config).to.include({
      window: 1_500,
      slowCallDuration: 500,
      openDuration: 120_000,
      maxOpenDuration: 3_600_000,
      halfOpenTimeout: 7,
    });
  });

  it('lets initialOpenDuration be openDuration where it is not said', () => {
    const { initialOpenDuration } = resolveConfig({ preset: 'cache', openDuration: '7s' });
    expect(initialOpenDuration).to.equal(7_000);
    expect(resolveConfig({ initialOpenDuration: '1s' }).initialOpenDuration).to.equal(1_000);
  });

  it('keeps abandonedAfter in milliseconds, or off', () => {
    const given = ['2s', 'off'].map((abandonedAfter) => resolveConfig({ abandonedAfter }).abandonedAfter);
    expect(given).to.deep.equal([2_000, 'off']);
  });

  it('lets maxOpenDuration be 5 minutes, or openDuration where that is longer', () => {
    const longest = ['1s', '10m'].map((openDuration) => resolveConfig({ openDuration }).maxOpenDuration);
    expect(longest).to.deep.equal([300_000, 600_000]);
  });

  it('lets options beat their preset', () => {
    expect(resolveConfig({ preset: 'llmService', failureThreshold: 9 })).to.include({
      preset: 'llmService',
      failureThreshold: 9,
      openDuration: 120_000,
    });
  });

  it('takes a preset and its own result for options', () => {
    for (const preset of Object.values(presets)) {
      const config = resolveConfig(preset);
      expect(config).to.deep.equal(resolveConfig({ preset: preset.preset }));
      expect(resolveConfig(config)).to.deep.equal(config);
    }
  });

  it('gives what cannot be changed', () => {
    const failureStatuses = [500];
    const config = resolveConfig({ failureStatuses });
    failureStatuses.push(501);
    expect(config.failureStatuses).to.deep.equal([500]);
    expect(config).to.be.frozen;
    expect(config.failureStatuses).to.be.frozen;
  });
});
