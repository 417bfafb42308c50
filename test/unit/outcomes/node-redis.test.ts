import { expect } from 'chai';
import * as redis from 'redis';
import * as redis5 from 'redis5';
import { verdictOfNodeRedisConnection, verdictOfNodeRedisError } from '../../../src/outcomes/redis.js';
import type { Verdict } from '../../../src/breaker/verdict.js';

const coded = (code: string) => Object.assign(new Error(code), { code });

for (const [major, library] of Object.entries({ 5: redis5, 6: redis })) {
  describe(`verdicts on errors of node-redis ${major}`, () => {
    const { ErrorReply, TimeoutError, SocketClosedUnexpectedlyError, ClientOfflineError } = library;
    const { ConnectionTimeoutError, SocketTimeoutError, WatchError, DisconnectsClientError, AbortError } = library;
    const reply = (text: string) => new ErrorReply(text);

    const EXPECTED: readonly (readonly [Error, Verdict])[] = [
      [reply('LOADING Redis is loading the dataset in memory'), 'failure'],
      [reply('READONLY You cannot write against a read only replica'), 'ignored'],
      [reply('WRONGTYPE Operation against a key'), 'success'],
      [new SocketClosedUnexpectedlyError(), 'failure'],
      [new ClientOfflineError(), 'failure'],
      [new ConnectionTimeoutError(), 'timeout'],
      [new SocketTimeoutError(100), 'timeout'],
      [new TimeoutError(), 'timeout'],
      [new WatchError(), 'success'],
      [new DisconnectsClientError(), 'ignored'],
      [new AbortError(), 'ignored'],
      [new TypeError('"arguments[1]" must be of type "string | Buffer"'), 'ignored'],
      [coded('ECONNREFUSED'), 'failure'],
      [coded('ECONNRESET'), 'failure'],
      [coded('ETIMEDOUT'), 'timeout'],
      [coded('EMFILE'), 'ignored'],
      [coded('ERR_INVALID_ARG_TYPE'), 'ignored'],
    ];
    for (const [error, verdict] of EXPECTED) {
      it(`${error.constructor.name} ${error.message}: ${verdict}`, () => {
        expect(verdictOfNodeRedisError(error, false)).to.equal(verdict);
      });
    }

    it('a blocking command that runs out of time says nothing', () => {
      expect(verdictOfNodeRedisError(new TimeoutError(), true)).to.equal('ignored');
    });

    it('a handshake that is answered with an error is a connection that could not be made, unless it is about the login', () => {
      expect(verdictOfNodeRedisConnection(reply('LOADING data'))).to.equal('failure');
      expect(verdictOfNodeRedisConnection(reply('WRONGPASS invalid username-password pair'))).to.equal('ignored');
      expect(verdictOfNodeRedisConnection(new TypeError('of a reconnectStrategy'))).to.equal('ignored');
    });
  });
}
