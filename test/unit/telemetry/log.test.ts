import { diag, DiagLogLevel } from '@opentelemetry/api';
import { expect } from 'chai';
import { log, printWithoutDiag } from '../../../src/telemetry/log.js';
import { captureDiag, stderrOf } from '../../support/log.js';

const LEVELS = ['error', 'warn', 'info', 'debug'] as const;

function printed(): string[] {
  const text = stderrOf(() => LEVELS.forEach((level) => log[level](`a line of ${level}`, new Error('why'), 7)));
  return text.split('\n').filter((line) => line !== '');
}

describe('log', () => {
  afterEach(() => printWithoutDiag({ OTEL_LOG_LEVEL: 'none' }));

  it('goes to diag where there is a logger, and not to stderr', () => {
    printWithoutDiag({});
    const lines = captureDiag();
    expect(printed()).to.deep.equal([]);
    expect(lines).to.deep.equal(LEVELS.map((level) => `${level}: a line of ${level} Error: why 7`));
  });

  for (const [value, levels] of [
    [undefined, ['error', 'warn', 'info']],
    ['', ['error', 'warn', 'info']],
    ['loud', ['error', 'warn', 'info']],
    ['30', ['error', 'warn', 'info']],
    [' Error ', ['error']],
    ['WARN', ['error', 'warn']],
    ['verbose', LEVELS],
    ['ALL', LEVELS],
    ['none', []],
  ] as const) {
    it(`prints ${levels.join(', ') || 'nothing'} where there is none and OTEL_LOG_LEVEL is ${JSON.stringify(value) ?? 'not set'}`, () => {
      printWithoutDiag({ OTEL_LOG_LEVEL: value });
      expect(printed()).to.deep.equal(levels.map((level) => `otel-breaker: a line of ${level}: why: 7`));
    });
  }

  it('prints a line about an error that cannot be read, and throws nothing', () => {
    printWithoutDiag({});
    const unreadable = Object.defineProperty(new Error(), 'message', {
      get() {
        throw new Error('a getter that throws');
      },
    });
    const text = stderrOf(() =>
      [Object.create(null), unreadable, Symbol('thrown')].forEach((e) => log.error('failed', e)),
    );
    expect(text.trim().split('\n')).to.deep.equal([
      'otel-breaker: failed: an error that cannot be read',
      'otel-breaker: failed: an error that cannot be read',
      'otel-breaker: failed: Symbol(thrown)',
    ]);
  });

  it('throws nothing where the logger of the application throws', () => {
    const refuse = () => {
      throw new Error('the logger is closed');
    };
    diag.setLogger({ error: refuse, warn: refuse, info: refuse, debug: refuse, verbose: refuse }, DiagLogLevel.ERROR);
    expect(() => log.error('failed')).not.to.throw();
  });
});
