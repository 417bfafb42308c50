import { expect } from 'chai';
import type { Verdict } from '../../../src/breaker/verdict.js';
import { verdictOfPgError } from '../../../src/outcomes/postgresql.js';
import { CircuitOpenError } from '../../../src/breaker/errors.js';

const coded = (code: string, message = 'on purpose') => Object.assign(new Error(message), { code });

describe('pg: the verdict on an error', () => {
  const verdicts: Record<Verdict, readonly unknown[]> = {
    failure: [
      ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'].map((code) =>
        coded(code),
      ),
      ...['DEPTH_ZERO_SELF_SIGNED_CERT', 'CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID', 'EPROTO'].map((code) =>
        coded(code),
      ),
      coded('08006'),
      coded('53300'),
      new Error('Connection terminated unexpectedly'),
      new Error('wrapped', { cause: coded('ECONNRESET') }),
      new AggregateError([coded('ECONNREFUSED'), coded('EHOSTUNREACH')]),
      new AggregateError([new Error('?'), new Error('wrapped', { cause: coded('57P03') })]),
      new Error('received invalid response: 4d'),
    ],
    timeout: [
      coded('ETIMEDOUT'),
      coded('57014', 'canceling statement due to statement timeout'),
      new Error('Query read timeout'),
      new Error('timeout expired'),
      new Error('Connection terminated due to connection timeout', {
        cause: new Error('Connection terminated unexpectedly'),
      }),
      new AggregateError([coded('ETIMEDOUT'), coded('ETIMEDOUT')]),
    ],
    ignored: [
      coded('40001'),
      coded('28P01'),
      coded('3D000'),
      coded('57014', 'canceling statement due to user request'),
      new Error('Connection terminated'),
      new Error('timeout exceeded when trying to connect'),
      new Error('Client was closed and is not queryable'),
      new Error('Client has encountered a connection error and is not queryable'),
      coded('EMFILE'),
      coded('EADDRNOTAVAIL'),
      new Error('anything else'),
      // What opened that circuit was counted where it happened.
      new CircuitOpenError('elsewhere', 'open', 0, 'down', coded('ECONNREFUSED')),
      'a string',
      undefined,
    ],
    success: [coded('23505'), coded('42P01'), new Error('x', { cause: coded('22012') })],
  };
  for (const [verdict, errors] of Object.entries(verdicts)) {
    for (const error of errors) {
      it(`is ${verdict} for ${describeError(error)}`, () => {
        expect(verdictOfPgError(error)).to.equal(verdict);
      });
    }
  }

  it('is never success before there is a connection', () => {
    for (const code of ['28P01', '28000', '3D000', '42501'])
      expect(verdictOfPgError(coded(code), true)).to.equal('ignored');
    for (const code of ['53300', '57P03']) expect(verdictOfPgError(coded(code), true)).to.equal('failure');
  });

  it('comes to an end with an error that is its own cause', () => {
    const error: Error = new Error('round');
    error.cause = error;
    expect(verdictOfPgError(error)).to.equal('ignored');
  });
});

function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code, message, cause } = error as Error & { code?: string };
  const parts = error instanceof AggregateError ? ` of ${error.errors.map(describeError).join(' and ')}` : '';
  return `${code ?? ''} "${message}"${parts}${cause === undefined ? '' : ` because of ${describeError(cause)}`}`.trim();
}
