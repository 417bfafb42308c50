import { expect } from 'chai';
import { isLostMysqlConnection, verdictOfMysqlError } from '../../../src/outcomes/mysql.js';
import type { Verdict } from '../../../src/breaker/verdict.js';

const coded = (code: string, errno?: number) => Object.assign(new Error('whatever'), { code, errno });

describe('verdicts on errors of mysql2', () => {
  const EXPECTED: readonly (readonly [string, Verdict, connecting: Verdict])[] = [
    ['PROTOCOL_CONNECTION_LOST', 'failure', 'failure'],
    ['ECONNREFUSED', 'failure', 'failure'],
    ['ECONNRESET', 'failure', 'failure'],
    ['ENOTFOUND', 'failure', 'failure'],
    ['ETIMEDOUT', 'timeout', 'timeout'],
    ['PROTOCOL_SEQUENCE_TIMEOUT', 'timeout', 'timeout'],
    ['HANDSHAKE_SSL_ERROR', 'failure', 'failure'],
    ['ER_CON_COUNT_ERROR', 'failure', 'failure'],
    ['ER_SERVER_SHUTDOWN', 'failure', 'failure'],
    ['ER_QUERY_TIMEOUT', 'timeout', 'timeout'],
    ['ER_LOCK_DEADLOCK', 'ignored', 'ignored'],
    ['ER_LOCK_WAIT_TIMEOUT', 'ignored', 'ignored'],
    ['ER_OPTION_PREVENTS_STATEMENT', 'ignored', 'ignored'],
    ['ER_ACCESS_DENIED_ERROR', 'ignored', 'ignored'],
    ['ER_DUP_ENTRY', 'success', 'ignored'],
    ['ER_PARSE_ERROR', 'success', 'ignored'],
    ['ERR_CIRCUIT_OPEN', 'ignored', 'ignored'],
    ['EMFILE', 'ignored', 'ignored'],
    ['ERR_INVALID_ARG_TYPE', 'ignored', 'ignored'],
  ];
  for (const [code, verdict, connecting] of EXPECTED) {
    it(`${code}: ${verdict}, and while connecting ${connecting}`, () => {
      expect(verdictOfMysqlError(coded(code))).to.equal(verdict);
      expect(verdictOfMysqlError(coded(code), true)).to.equal(connecting);
    });
  }

  it('knows errors of MariaDB by their number, and takes all others for answers', () => {
    const numbered = (errno: number) => Object.assign(new Error('whatever'), { errno });
    expect(verdictOfMysqlError(numbered(1927))).to.equal('failure');
    expect(verdictOfMysqlError(numbered(1969))).to.equal('timeout');
    expect(verdictOfMysqlError(numbered(4038))).to.equal('success');
  });

  it('says nothing by errors that the client makes itself', () => {
    const closed = new Error("Can't add new command when connection is in closed state");
    expect(verdictOfMysqlError(closed)).to.equal('ignored');
    expect(verdictOfMysqlError(undefined)).to.equal('ignored');
  });

  it('knows what the loss of a connection looks like', () => {
    expect(isLostMysqlConnection(coded('ECONNRESET'))).to.equal(true);
    expect(isLostMysqlConnection(coded('ECONNREFUSED'))).to.equal(false);
  });
});
