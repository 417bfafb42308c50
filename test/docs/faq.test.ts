import { expect } from 'chai';
import { MongoServerError } from 'mongodb';
import { verdictOfRedisError } from '../../src/outcomes/redis.js';
import { verdictOfMongoError } from '../../src/outcomes/mongodb.js';
import { verdictOfMysqlError } from '../../src/outcomes/mysql.js';
import { verdictOfPgError } from '../../src/outcomes/postgresql.js';
import { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import { settleByStatus } from '../../src/outcomes/http.js';
import { Document } from './documents.js';

const page = new Document('docs/faq.md');

type Outcome = 'failure' | 'ignored' | 'success';

function outcomeOfStatus(status: string): Outcome {
  const breaker = new CircuitBreaker('target');
  const permit = breaker.acquire();
  settleByStatus(permit, Number(status), () => undefined);
  // A good status leaves the rest to the body, which came.
  permit.success();
  const { failure, ignored } = breaker.stats().calls;
  return failure === 1 ? 'failure' : ignored === 1 ? 'ignored' : 'success';
}

function outcomeOfReply(word: string): Outcome {
  const error = Object.assign(new Error(`${word} and so on`), { name: 'ReplyError' });
  const verdict = verdictOfRedisError(error, { closedByUs: false, firstAttempt: false, blocking: false });
  return verdict === 'timeout' ? 'failure' : verdict;
}

function outcomeOfState(code: string): Outcome {
  const verdict = verdictOfPgError(Object.assign(new Error('whatever'), { code }));
  return verdict === 'timeout' ? 'failure' : verdict;
}

function outcomeOfMongo(code: string): Outcome {
  const verdict = verdictOfMongoError(new MongoServerError({ message: 'whatever', code: Number(code) }));
  return verdict === 'timeout' ? 'failure' : verdict;
}

function outcomeOfMysql(code: string): Outcome {
  const verdict = verdictOfMysqlError(Object.assign(new Error('whatever'), { code }));
  return verdict === 'timeout' ? 'failure' : verdict;
}

const JUDGES: Readonly<Record<string, (code: string) => Outcome>> = {
  'http, http2, undici: an answer': outcomeOfStatus,
  'Redis: a reply': outcomeOfReply,
  'MongoDB: a code': outcomeOfMongo,
  'MySQL: an error': outcomeOfMysql,
  'PostgreSQL: SQLSTATE': outcomeOfState,
};
const COLUMNS: readonly Outcome[] = ['failure', 'ignored', 'success'];

describe('docs/faq.md', () => {
  for (const [title, ...cells] of page.tableOf('What counts as a failure?').slice(1)) {
    const outcomeOf = JUDGES[title!];
    if (outcomeOf === undefined) continue;
    it(`says rightly what counts as a failure: ${title!}`, () => {
      COLUMNS.forEach((outcome, index) => {
        const codes = cells[index]!.match(/\b(ER_\w+|[1-9]\d*|[A-Z]{3,}|[0-9][0-9A-Z]{4})\b/g) ?? [];
        expect(codes).not.to.be.empty;
        for (const code of codes) expect(outcomeOf(code), code).to.equal(outcome);
      });
    });
  }

  it('says that of each system', () => {
    const rows = page.tableOf('What counts as a failure?').map(([title]) => title);
    expect(rows).to.include.members(Object.keys(JUDGES));
  });
});
