import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/child.js';
import { Backends, HAPPENINGS, LIBRARIES, Trial, type Happening, type Library, type SeenVerdicts } from './matrix.js';
import { tableOf } from './table.js';

// Loading a library takes a core for a second; waiting takes none.
const LOADED_AT_ONCE = 2;
const ROUNDS = 2;

describe('The verdict', function () {
  this.timeout(240_000);
  const seen: Record<string, SeenVerdicts[string]> = {};

  before(async () => {
    const backends = await Backends.start();
    const trials = LIBRARIES.map((library) => new Trial(library, backends));
    try {
      const running: Promise<SeenVerdicts>[] = [];
      for (let first = 0; first < trials.length; first += LOADED_AT_ONCE) {
        const next = trials.slice(first, first + LOADED_AT_ONCE);
        const loads = await Promise.allSettled(next.map((trial) => trial.load()));
        next.forEach((trial, index) => loads[index]!.status === 'fulfilled' && running.push(trial.run()));
        for (const run of running) run.catch(() => {});
      }
      for (const run of await Promise.allSettled(running))
        if (run.status === 'fulfilled') Object.assign(seen, run.value);
      // Where a machine stands still for a moment, timeouts are excused, and rightly so, or a connection is not made in time,
      // and its process ends: these are tried again, alone. What ends the process of the last round is told.
      for (let round = 1; round <= ROUNDS; round++) {
        for (const library of LIBRARIES.filter((one) => !isAsExpected(one, seen))) {
          const trial = Trial.of(library, backends);
          Object.assign(seen, await (round === ROUNDS ? trial : trial.catch(() => {})));
        }
      }
    } finally {
      await Promise.all(trials.map((trial) => trial.end()));
      await backends.stop();
    }
  });

  for (const { title, verdicts } of LIBRARIES.flatMap(({ ways }) => ways)) {
    describe(`on calls by ${title}`, () => {
      for (const [happening, verdict] of Object.entries(verdicts)) {
        it(`is ${verdict}: ${HAPPENINGS[happening as Happening]}`, () => {
          const found = seen[title]?.[happening];
          expect(found?.verdict, found?.details).to.equal(verdict);
        });
      }
    });
  }

  it('is what the table in docs/reliability.md says', () => {
    const document = readFileSync(join(ROOT, 'docs/reliability.md'), 'utf8');
    const [, text = ''] = /<!-- verdicts: .* -->([^]*)<!-- end of verdicts -->/.exec(document) ?? [];
    const verdictOf = (title: string, happening: Happening) => seen[title]?.[happening]?.verdict;
    expect(cellsOf(text)).to.deep.equal(cellsOf(tableOf(verdictOf)));
  });
});

function isAsExpected({ ways }: Library, seen: SeenVerdicts): boolean {
  return ways.every(({ title, verdicts }) =>
    Object.entries(verdicts).every(([happening, verdict]) => seen[title]?.[happening]?.verdict === verdict),
  );
}

/** The cells of a table, however its columns are drawn. */
function cellsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^[|\s:-]+$/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()));
}
