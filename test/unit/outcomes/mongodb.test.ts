import { expect } from 'chai';
import {
  MongoNetworkError,
  MongoNetworkTimeoutError,
  MongoServerClosedError,
  MongoServerError,
  MongoServerSelectionError,
  MongoInvalidArgumentError,
} from 'mongodb';
import {
  isUnreached,
  isLostMongoConnection,
  isMongoOutOfPatience,
  knownVerdictOfMongoError,
  verdictOfMongoError,
} from '../../../src/outcomes/mongodb.js';
import type { Verdict } from '../../../src/breaker/verdict.js';

const ofServer = (code: number) => new MongoServerError({ message: 'whatever', code });
const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' });
const selection = new MongoServerSelectionError('timed out', {} as never);

describe('verdicts on errors of mongodb', () => {
  const EXPECTED: readonly (readonly [string, unknown, Verdict])[] = [
    ['a lost connection', new MongoNetworkError('connection 1 closed'), 'failure'],
    ['no answer of the network in time', new MongoNetworkTimeoutError('timed out'), 'timeout'],
    ['no server in time', selection, 'failure'],
    ['a shutdown', ofServer(91), 'failure'],
    ['no primary any more', ofServer(10107), 'failure'],
    ['maxTimeMS', ofServer(50), 'timeout'],
    ['a refused login', ofServer(18), 'ignored'],
    ['a write conflict', ofServer(112), 'ignored'],
    ['a duplicate key', ofServer(11000), 'success'],
    ['a closed client', new MongoServerClosedError(), 'ignored'],
    ['a wrong argument', new MongoInvalidArgumentError('no'), 'ignored'],
    ['an abort', new DOMException('gone', 'AbortError'), 'ignored'],
    ['a signal of time', new DOMException('late', 'TimeoutError'), 'timeout'],
    ['nothing', undefined, 'ignored'],
  ];
  for (const [title, error, verdict] of EXPECTED) {
    it(`${title}: ${verdict}`, () => expect(verdictOfMongoError(error)).to.equal(verdict));
  }

  it('has not reached a server by a refused connection or without an answer, and has by one that is lost', () => {
    expect(isUnreached(new MongoNetworkError('refused', { cause: refused }))).to.equal(true);
    expect(isUnreached(new MongoNetworkTimeoutError('timed out'))).to.equal(true);
    expect(isUnreached(new MongoNetworkError('closed', { beforeHandshake: true }))).to.equal(true);
    const early = new MongoNetworkError('closed');
    early.addErrorLabel('HandshakeError');
    expect(isUnreached(early)).to.equal(true);
    expect(isUnreached(new MongoNetworkError('closed'))).to.equal(false);
    expect(isUnreached(ofServer(18))).to.equal(false);
  });

  it('knows what the loss of a connection and an end of patience look like', () => {
    expect(isLostMongoConnection(new MongoNetworkError('closed'))).to.equal(true);
    expect(isLostMongoConnection(selection)).to.equal(false);
    expect(isMongoOutOfPatience(selection)).to.equal(true);
    expect(isMongoOutOfPatience(ofServer(50))).to.equal(false);
  });

  it('has a word only on errors that are of mongodb, where others come as well', () => {
    expect(knownVerdictOfMongoError(ofServer(11000))).to.equal('success');
    expect(knownVerdictOfMongoError(Object.assign(new Error('of another'), { code: 91 }))).to.equal(undefined);
  });
});
