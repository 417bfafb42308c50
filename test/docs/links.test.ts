import { expect } from 'chai';
import { existsSync } from 'node:fs';
import { join, posix } from 'node:path';
import { ROOT } from '../support/child.js';
import { findDocuments, problemOfLink, type Document } from './documents.js';

const documents = new Map(findDocuments().map((document) => [document.path, document]));

function problemOf(document: Document, target: string): string | undefined {
  return problemOfLink(document, target, [...documents.values()], (path) => existsSync(join(ROOT, path)));
}

describe('links', () => {
  it('are looked for in every document', () => {
    expect([...documents.keys()]).to.include.members(['README.md', 'CONTRIBUTING.md', 'docs/configuration.md']);
  });

  for (const document of documents.values()) {
    it(`of ${document.path} lead somewhere`, () => {
      const problems = document.links.flatMap(({ target, line }) => {
        const problem = problemOf(document, target);
        return problem === undefined ? [] : [`${document.path}:${line}: ${target}: ${problem}`];
      });
      expect(problems).to.deep.equal([]);
    });
  }

  it('lead from docs/README.md to every page of docs', () => {
    const index = documents.get('docs/README.md')!;
    const linked = index.links.map(({ target }) => posix.join('docs', target.split('#', 1)[0]!));
    const pages = [...documents.keys()].filter((path) => /^docs\/[^/]+\.md$/.test(path) && path !== index.path);
    expect(linked).to.include.members(pages);
  });

  it('that lead nowhere would be noticed', () => {
    const document = documents.get('docs/configuration.md')!;
    expect(problemOf(document, 'gone.md')).to.equal('there is no docs/gone.md');
    expect(problemOf(document, '#gone')).to.match(/^docs\/configuration\.md has no #gone; it has configuration, /);
    expect(problemOf(document, '../../gone.md')).to.equal('leads out of the repository');
    expect(problemOf(document, 'console.md#health')).to.equal(undefined);
    expect(problemOf(document, 'https://example.com/gone')).to.equal(undefined);
  });
});
