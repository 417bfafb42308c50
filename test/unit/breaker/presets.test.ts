import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { resolveConfig } from '../../../src/breaker/config.js';
import type { PresetName } from '../../../src/breaker/options.js';
import { presets } from '../../../src/breaker/presets.js';

// name: failureThreshold, successThreshold, openDuration in seconds, halfOpenMaxCalls, minimumCalls, countTimeouts
const NUMBERS: Readonly<Record<PresetName, readonly [number, number, number, number, number, boolean]>> = {
  default: [5, 2, 60, 3, 10, true],
  httpApi: [5, 2, 30, 3, 10, true],
  llmService: [3, 2, 120, 2, 5, true],
  database: [10, 3, 10, 5, 20, true],
  notifications: [10, 2, 60, 3, 15, false],
  cache: [8, 3, 20, 4, 15, true],
};

describe('presets', () => {
  it('are these and no others', () => expect(presets).to.have.all.keys(Object.keys(NUMBERS)));

  for (const name of Object.keys(NUMBERS) as PresetName[]) {
    it(`has the promised numbers in ${name}`, () => {
      const [failureThreshold, successThreshold, seconds, halfOpenMaxCalls, minimumCalls, countTimeouts] =
        NUMBERS[name];
      const { config } = new CircuitBreaker('target', presets[name]);
      expect(config).to.deep.equal({
        preset: name,
        mode: 'enforce',
        failureThreshold,
        successThreshold,
        initialOpenDuration: seconds * 1_000,
        openDuration: seconds * 1_000,
        halfOpenMaxCalls,
        minimumCalls,
        countTimeouts,
        failureRateThreshold: 0.5,
        window: 30_000,
        slowCallRateThreshold: 0.5,
        maxOpenDuration: 300_000,
        openBackoff: 1,
        openJitter: 0,
        recoveryDuration: 0,
        abandonedAfter: name === 'llmService' ? 10_000 : 1_000,
        halfOpenTimeout: Math.max(seconds * 1_000, 30_000),
        failureStatuses: ['5xx', '!501', '!505'],
        honorRetryAfter: name === 'llmService',
      });
    });
  }

  it('are the default where none is named', () => {
    expect(resolveConfig()).to.deep.equal(resolveConfig({ preset: 'default' }));
  });

  it('cannot be changed', () => {
    expect(presets).to.be.frozen;
    for (const preset of Object.values(presets)) expect(preset).to.be.frozen;
  });
});
