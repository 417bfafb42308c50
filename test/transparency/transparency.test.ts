import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/child.js';
import { compare } from './compare.js';
import { rowOf } from './report.js';
import { CASES, KNOWN_DIFFERENCES, World } from './subjects.js';

/** Cells of a table without the spaces that a formatter puts around them. */
const cells = (row: string) => row.split('|').map((cell) => cell.trim());

describe('transparency', function () {
  // Some hundred calls in two processes each, and again where the order of things is left to chance.
  this.timeout(0);

  const world = new World();
  after(() => world.stop());

  // `npm run transparency` tries all majors, all forms of loading, and later lines of Node.
  const newest = [
    'http and https',
    'fetch',
    'undici 7',
    'ioredis 6',
    'node-redis 6',
    'mysql2',
    'mongodb',
    'pg',
    'grpc-js',
    'http2',
    'nodemailer',
  ];
  for (const one of CASES.filter(({ kind, title }) => kind === 'cjs' && newest.includes(title))) {
    it(`${one.title}, ${one.kind}: with closed circuits, an application sees no difference`, async () => {
      const result = await compare(await world.subject(one));
      expect(result.guarded, 'calls that passed a breaker').to.be.greaterThan(20);
      const known = Object.keys(KNOWN_DIFFERENCES[one.family] ?? {});
      expect(result.differences.filter(({ probe }) => !known.includes(probe))).to.deep.equal([]);
      // What is said to differ does.
      expect(result.differences.map(({ probe }) => probe)).to.include.members(known);

      const document = readFileSync(join(ROOT, 'docs/reliability.md'), 'utf8');
      const table = document.slice(document.indexOf('<!-- transparency:')).split('\n').map(cells);
      const [, title, probes, ends, ...differences] = cells(rowOf(one.title, one.family, [result]));
      const row = table.find(([, cell]) => cell === title)!;
      expect(row.slice(1, 4), 'docs/reliability.md: npm run transparency').to.deep.equal([title, probes, ends]);
      expect(row.slice(4, 6), 'docs/reliability.md: npm run transparency').to.deep.equal(differences.slice(0, 2));
    });
  }

  it('every kind of difference is seen where there is one', async () => {
    const subject = await world.subject(CASES[0]!);
    const { differences, changed } = await compare({
      ...subject,
      preload: ['--require', join(__dirname, 'probes/meddler.cjs')],
      only: ['a GET', 'keep-alive'],
      // Not tried again.
      known: ['a GET', 'keep-alive'],
    });
    const aspects = (name: string) => differences.filter(({ probe }) => probe === name).map(({ aspect }) => aspect);
    expect(aspects('a GET')).to.have.members(['asynchronous', 'left', 'wire']);
    expect(aspects('keep-alive')).to.include('wire');
    expect(aspects('a kept connection does not keep the process')).to.deep.equal(['end']);
    expect(changed).to.have.property('http.Agent.prototype.addRequest');
  });
});
