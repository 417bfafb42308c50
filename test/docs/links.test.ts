import { expect } from 'chai';
import { existsSync, statSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { ROOT } from '../support/child.js';
import { findDocuments, type Document } from './documents.js';

const documents = new Map(findDocuments().map((document) => [document.path, document]));

/** Why a link of a document leads nowhere; `undefined` where it leads somewhere, or out of this repository. */
function problemOf({ path }: Document, target: string): string | undefined {
  if (/^[a-z][a-z+.-]*:/i.test(target)) return undefined;
  const [file = '', anchor] = target.split('#', 2);
  const linked = file === '' ? path : posix.normalize(posix.join(dirname(path), file));
  if (linked.startsWith('..')) return 'leads out of the repository';
  if (!existsSync(join(ROOT, linked))) return `there is no ${linked}`;
  if (anchor === undefined) return undefined;
  if (statSync(join(ROOT, linked)).isDirectory()) return `${linked} is a directory`;
  const document = documents.get(linked);
  if (document === undefined) return `${linked} is no document`;
  const anchors = document.sections.map((section) => section.anchor);
  return anchors.includes(anchor) ? undefined : `${linked} has no #${anchor}; it has ${anchors.join(', ')}`;
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
