import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ROOT } from '../support/child.js';
import { CLIENTS } from './backends.js';
import { FAULTS, SHORT } from './faults.js';
import { rowsIn } from './report.js';
import type { Result } from './scenario.js';
import { playAll } from './suite.js';

const SEED = 1;

// All clients at once: each test reads what came of one of them. `npm run chaos -- --short --seed 1` shows the same.
describe('chaos', function () {
  this.timeout(300_000);
  let results: readonly Result[] = [];

  before(async () => {
    results = await playAll(CLIENTS, FAULTS, SHORT, SEED);
  });

  for (const { name } of FAULTS) {
    for (const client of CLIENTS) {
      it(`leaves no call lost, hanging or counted twice: ${client} and a server that ${name}`, () => {
        const result = results.find((played) => played.fault === name && played.client === client);
        expect(result?.problems, JSON.stringify(result)).to.deep.equal([]);
      });
    }
  }
});

describe('the table of faults', () => {
  it('has a row for each fault and each client', () => {
    const rows = FAULTS.flatMap(({ name }) => CLIENTS.map((client) => `${name} | ${client}`));
    expect(rowsIn(readFileSync(join(ROOT, 'docs/reliability.md'), 'utf8'))).to.have.members(rows);
  });
});
