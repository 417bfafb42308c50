import { expect } from 'chai';
import { NOTHING_YET } from '../../../../src/telemetry/metrics/metrics.js';
import { Reports } from '../../../../src/telemetry/metrics/reports.js';

// So long that a test which waits for it fails.
const FOR_EVER = 2 ** 31 - 1;

/** Workers that answer as a test has it. */
function workersUnderTest() {
  const asked: number[] = [];
  const dead = new Set<string>();
  const state = { patience: FOR_EVER };
  const reports: Reports<string> = new Reports<string>({
    get patience() {
      return state.patience;
    },
    ask: (round) => void asked.push(round),
    isAlive: (worker) => !dead.has(worker),
  });
  const report = (worker: string) => [{ worker, breakers: [], process: NOTHING_YET }];
  const hello = (...workers: string[]) => {
    for (const worker of workers) reports.heard(worker, 0, report(worker));
  };
  const answers = (worker: string, text = worker) => reports.heard(worker, asked.at(-1)!, report(text));
  const all = async () => (await reports.all()).map(({ worker }) => worker);
  return { state, asked, dead, reports, hello, answers, all };
}

describe('Reports', () => {
  it('of nobody are there at once, and nobody is asked', async () => {
    const { all, asked } = workersUnderTest();
    expect(await all()).to.deep.equal([]);
    expect(asked).to.deep.equal([]);
  });

  it('are there as soon as all have answered', async () => {
    const { hello, answers, all } = workersUnderTest();
    hello('a', 'b');
    const scrape = all();
    answers('b', 'b anew');
    answers('a', 'a anew');
    expect(await scrape).to.deep.equal(['a anew', 'b anew']);
  });

  it('take an answer that comes while the question is put', async () => {
    const reports: Reports<string> = new Reports<string>({
      patience: FOR_EVER,
      isAlive: () => true,
      ask: (round) => reports.heard('a', round, [{ worker: 'at once', breakers: [], process: NOTHING_YET }]),
    });
    reports.heard('a', 0, []);
    expect(await reports.all()).to.deep.equal([{ worker: 'at once', breakers: [], process: NOTHING_YET }]);
  });

  it('wait once for a worker that does not answer, and not again before it does', async () => {
    const { state, hello, answers, all, asked } = workersUnderTest();
    hello('prompt', 'busy');
    state.patience = 1;
    let scrape = all();
    answers('prompt', 'first');
    expect(await scrape).to.deep.equal(['first', 'busy']);

    state.patience = FOR_EVER;
    scrape = all();
    answers('prompt', 'second');
    expect(await scrape).to.deep.equal(['second', 'busy']);

    answers('busy', 'back');
    scrape = all();
    answers('prompt', 'third');
    answers('busy', 'waited for');
    expect(await scrape).to.deep.equal(['third', 'waited for']);
    expect(asked).to.deep.equal([1, 2, 3]);
  });

  it('are shared by those who ask at the same time', async () => {
    const { hello, answers, all, asked } = workersUnderTest();
    hello('a');
    const scrapes = [all(), all(), all()];
    answers('a', 'anew');
    expect(await Promise.all(scrapes)).to.deep.equal([['anew'], ['anew'], ['anew']]);
    expect(asked).to.deep.equal([1]);
  });

  it('are gone with a worker that dies, even while it is asked', async () => {
    const { dead, hello, answers, all } = workersUnderTest();
    hello('a', 'b');
    const scrape = all();
    answers('a');
    dead.add('a');
    answers('b');
    expect(await scrape).to.deep.equal(['b']);
    dead.add('b');
    expect(await all()).to.deep.equal([]);
  });

  it('of the dead are not kept where nobody ever asks', () => {
    let latest = {};
    let looks = 0;
    const isAlive = (worker: object) => (looks++, worker === latest);
    const reports = new Reports<object>({ patience: 1, ask: () => {}, isAlive });
    for (let worker = 0; worker < 1_000; worker++) {
      latest = {};
      reports.heard(latest, 0, []);
    }
    // One look for each time that somebody was heard: only the one before was still kept.
    expect(looks).to.equal(999);
  });

  it('end with the reporter that is stopped', async () => {
    const { hello, all, reports } = workersUnderTest();
    hello('a');
    const scrape = all();
    reports.clear();
    expect(await scrape).to.deep.equal([]);
  });
});
