import { expect } from 'chai';
import { resolveConfig } from '../../../src/breaker/config.js';
import { classify, isUnreachable } from '../../../src/outcomes/classify.js';

const config = resolveConfig();

function coded(code: string, fields: object = {}): Error {
  return Object.assign(new Error(code), { code }, fields);
}

describe('classify', () => {
  it('knows timeouts, aborts and troubles of our own machine along the causes of an error', () => {
    const within = (cause: unknown) => new TypeError('fetch failed', { cause });
    const errors = [
      within(coded('UND_ERR_BODY_TIMEOUT')),
      within(new DOMException('gone', 'AbortError')),
      within(coded('EMFILE')),
      within(coded('ECONNRESET')),
      'no error at all',
    ];
    expect(errors.map((error) => classify(error, config))).to.deep.equal([
      'timeout',
      'ignored',
      'ignored',
      'failure',
      'failure',
    ]);
  });
});

describe('isUnreachable', () => {
  const connecting = { syscall: 'connect' };
  const UNREACHABLE: readonly unknown[] = [
    coded('ECONNREFUSED'),
    coded('ENOTFOUND'),
    coded('EAI_AGAIN'),
    coded('ECONNRESET', connecting),
    coded('ETIMEDOUT', connecting),
    new TypeError('fetch failed', { cause: coded('EHOSTUNREACH') }),
    new AggregateError([coded('ECONNREFUSED'), coded('ENETUNREACH')]),
  ];
  for (const error of UNREACHABLE) {
    it(`says so of ${String(error)}`, () => expect(isUnreachable(error)).to.equal(true));
  }

  const REACHED: readonly unknown[] = [
    coded('ECONNRESET', { syscall: 'read' }),
    coded('ETIMEDOUT'),
    coded('ERR_HTTP_STATUS'),
    new AggregateError([coded('ECONNREFUSED'), coded('ECONNRESET', { syscall: 'read' })]),
    new AggregateError([]),
    new Error('down'),
    undefined,
    'ECONNREFUSED',
  ];
  for (const error of REACHED) {
    it(`does not say so of ${String(error)}`, () => expect(isUnreachable(error)).to.equal(false));
  }
});
