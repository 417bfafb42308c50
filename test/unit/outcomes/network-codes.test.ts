import { expect } from 'chai';
import { isBadInput, isOwnTrouble, isUnreachable, meaningOfCode } from '../../../src/outcomes/network-codes.js';

const coded = (code: string, more: object = {}) => Object.assign(new Error('on purpose'), { code, ...more });

describe('The meaning of network codes', () => {
  for (const [code, meaning] of [
    ['ECONNREFUSED', 'unreachable'],
    ['EAI_AGAIN', 'unreachable'],
    ['ECONNRESET', 'failure'],
    ['HPE_INVALID_CONSTANT', 'failure'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'failure'],
    ['ETIMEDOUT', 'timeout'],
    ['EMFILE', 'own_trouble'],
    ['ERR_INVALID_URL', 'bad_input'],
    ['ENOENT', undefined],
    ['E2BIG', undefined],
  ] as const) {
    it(`${code}: ${meaning ?? 'not of the network'}`, () => {
      expect(meaningOfCode(coded(code))).to.equal(meaning);
    });
  }

  it('tells a unix socket that is not there, or that we may not open, from a file', () => {
    for (const code of ['ENOENT', 'EACCES', 'EPERM']) {
      expect(meaningOfCode(coded(code, { syscall: 'connect' }))).to.equal('unreachable');
      expect(meaningOfCode(coded(code, { syscall: 'open' }))).to.equal(undefined);
    }
  });

  it('tells the timeout of axios and superagent from a connection that the system has given up', () => {
    expect(meaningOfCode(coded('ECONNABORTED'))).to.equal('timeout');
    expect(meaningOfCode(coded('ECONNABORTED', { syscall: 'read' }))).to.equal('failure');
  });

  it('finds a target that was not reached along causes and in parts', () => {
    expect(isUnreachable(new TypeError('fetch failed', { cause: coded('ECONNREFUSED') }))).to.equal(true);
    expect(isUnreachable(new AggregateError([coded('ETIMEDOUT', { syscall: 'connect' })]))).to.equal(true);
    expect(isUnreachable(coded('UND_ERR_CONNECT_TIMEOUT'))).to.equal(true);
    expect(isUnreachable(coded('ECONNRESET', { syscall: 'connect' }))).to.equal(true);
    expect(isUnreachable(coded('ECONNRESET', { syscall: 'read' }))).to.equal(false);
    expect(isUnreachable(coded('ETIMEDOUT', { syscall: 'read' }))).to.equal(false);
  });

  it('survives getters that throw and errors that go round', () => {
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error('a getter');
      },
    });
    const round: Error & { errors?: unknown } = new Error('round');
    round.cause = round;
    round.errors = Array.from({ length: 1_000 }, () => round);
    for (const error of [hostile, round, new Error('outer', { cause: hostile }), undefined, 'text', 7]) {
      expect(isUnreachable(error)).to.equal(false);
      expect(isOwnTrouble(error)).to.equal(false);
      expect(isBadInput(error)).to.equal(false);
    }
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
