import { expect } from 'chai';
import { configure } from '../../src/index.js';
import { removeTemporaryDirectories } from '../support/files.js';
import { findDocuments } from './documents.js';
import { runSnippet, snippetsOf, typeProblems } from './run-snippet.js';

const documents = findDocuments()
  // Declarations, not programs; the compiler wrote them.
  .filter(({ path }) => path !== 'docs/api.md');
const snippets = documents.flatMap((document) => snippetsOf(document));

describe('code in documents', () => {
  afterEach(() => {
    configure({});
    removeTemporaryDirectories();
  });

  it('has types that the compiler takes', () => {
    expect(typeProblems(snippets)).to.deep.equal([]);
  });

  it('with a mistake would be noticed', () => {
    const [some] = snippets.filter(({ language }) => language === 'ts');
    const content = "import { getCircuitBreaker } from 'otel-breaker';\ngetCircuitBreaker(1);\n";
    expect(typeProblems([{ ...some!, content }])).to.have.length(1);
  });

  for (const snippet of snippets) {
    const { document, title, line, content } = snippet;
    it(`runs: ${document.path}:${line}: ${title}`, async () => {
      const printed = await runSnippet(snippet);
      if (content.includes('console.log')) expect(printed).not.to.be.empty;
    });
  }
});
