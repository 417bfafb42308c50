import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../support/child.js';
import { parseKilled } from './killed-table.js';
import { CALLERS, miscounted, PAUSE_MS, runKill, type Arm, type Report } from './killed.js';
import { ROWS } from './rows.js';
import { sideBySide } from './side-by-side.js';

// Long enough for clients that fail at once to open their circuit; those of 4 s and of a minute are for `npm run outages`.
const AWAY_MS = 2_000;
const BEFORE_MS = 1_000;
const AFTER_MS = 15_000;
const SIDE_BY_SIDE = 4;
// What is wrong is wrong by far: callers that are rejected for no reason are so for as long as they call.
const BUSY_MACHINE_MS = 5_000;

describe('a server that is killed under 100 callers', function () {
  this.timeout(120_000);

  const arms: readonly Arm[] = ['without', 'with'];
  const rows = ROWS.filter(({ underCallers }) => underCallers?.inTests);
  let reports: Promise<Report[]>[];

  before(() => {
    reports = sideBySide(rows, SIDE_BY_SIDE, (row) =>
      runKill({ row, arms, awayMs: AWAY_MS, beforeMs: BEFORE_MS, afterMs: AFTER_MS }),
    );
  });

  for (const [at, { title, underCallers, failsWithout = true }] of rows.entries()) {
    it(`costs those of ${title} no more than without us, and is counted to the call`, async () => {
      const [without, ours] = (await reports[at]) as [Report, Report];
      const said = JSON.stringify({ without, ours });
      expect(ours.answered, said).to.be.greaterThan(0);
      expect(ours.unhandled, said).to.equal(0);
      expect(ours.unfinished, said).to.equal(0);
      expect(miscounted(ours), said).to.equal(0);
      expect(ours.counted, said).to.include({ success: ours.answered, rejected: ours.rejected, inFlight: 0 });
      expect(ours.firstAnswerMs, said).to.be.within(0, Math.max(0, without.firstAnswerMs) + BUSY_MACHINE_MS);
      expect(ours.lastFailureMs, said).to.be.at.most(Math.max(0, without.lastFailureMs) + BUSY_MACHINE_MS);
      const waits = underCallers!.patienceMs !== undefined || !failsWithout;
      if (waits) {
        // Whom their client serves later, it serves: lost is at most what was under way.
        expect(ours.rejected, said).to.equal(0);
        expect(ours.failed, said).to.be.at.most(without.failed + CALLERS);
      } else {
        // Each caller tries again after its pause. Who hears sooner that it failed, tries again sooner.
        const made = (CALLERS * (AWAY_MS + BUSY_MACHINE_MS)) / PAUSE_MS;
        expect(ours.rejected, said).to.be.within(1, made);
        expect(ours.failed - ours.rejected, said).to.be.at.most(Math.max(without.failed, CALLERS));
      }
    });
  }
});

describe('the table of servers killed under callers in docs/outages.md', () => {
  it('says of each client that nothing is lost, hangs or is miscounted through us', async () => {
    const lines = parseKilled(await readFile(join(ROOT, 'docs/outages.md'), 'utf8'));
    const titles = ROWS.filter(({ underCallers }) => underCallers !== undefined).map(({ title }) => title);
    for (const away of ['4 s', '60 s']) {
      const measured = lines.filter((line) => line.away === away).map(({ client }) => client);
      expect(measured, away).to.include.members(titles);
    }
    for (const line of lines) {
      const run = `${line.client}, ${line.away}`;
      const [, unhandled] = line.unhandled.split(' → ');
      expect({ unhandled, counts: line.counts }, run).to.deep.equal({ unhandled: '0', counts: 'exact' });
      const [, firstAnswer] = line['first answer'].split(' → ');
      expect(parseFloat(firstAnswer!), run).to.be.greaterThan(0);
    }
  });
});
