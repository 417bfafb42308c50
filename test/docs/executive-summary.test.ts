import { expect } from 'chai';
import { Document } from './documents.js';

describe('docs/executive-summary.md', () => {
  it('has no figure that was not measured', () => {
    const page = new Document('docs/executive-summary.md');
    const measured = new Document('docs/outages.md');
    const figures = page
      .tableOf('What it saves')
      .slice(1)
      .flatMap(([, ...cells]) => cells);
    const cells = measured.tables.flat(2);
    expect(cells).to.include.members(figures);
    const [paragraph] = page.sections.filter(({ title }) => title === 'What it costs');
    const inText = [...paragraph!.text.matchAll(/\d[\d.,]* s\b/g)].map(([figure]) => figure);
    expect(inText).to.deep.equal(['1.2 s', '0.7 s']);
    expect(cells).to.include.members(inText);
  });
});
