import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OPTIONS } from '../../src/breaker/options.js';
import { ROOT } from '../support/child.js';
import { Document } from './documents.js';
import { runSnippet, snippetsOf } from './run-snippet.js';

const page = new Document('docs/migration.md');
const moduleFile = (path: string) => readFileSync(join(ROOT, 'node_modules', path), 'utf8');
const named = (text: string, pattern: RegExp) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name!))];

/** What the first column of a table names, in code or not. */
const firstColumn = (title: string) =>
  page
    .tableOf(title)
    .map(([cell]) => cell!)
    .join(' ');

describe('docs/migration.md', () => {
  const programs = snippetsOf(page, ['opossum', 'cockatiel', 'otel-breaker']);

  it('has programs in pairs', () => {
    expect(programs.length).to.be.greaterThan(9);
    programs.forEach(({ role }, index) => {
      if (index % 2 === 0) expect(role).to.be.oneOf(['opossum', 'cockatiel']);
      else expect(role).to.equal('otel-breaker');
    });
  });

  for (let index = 0; index < programs.length; index += 2) {
    const theirs = programs[index]!;
    const ours = programs[index + 1]!;
    it(`has a pair that prints the same: ${theirs.role}, line ${theirs.line}`, async () => {
      const printed = await runSnippet(ours);
      expect(printed).to.deep.equal(await runSnippet(theirs));
      expect(printed.length).to.be.greaterThan(0);
    });
  }

  it('names every option and every event of opossum', () => {
    const source = moduleFile('opossum/lib/circuit.js').split('class CircuitBreaker')[0]!;
    const names = firstColumn('Options of opossum');
    for (const option of named(source, /@param \{[^}]+\} options\.(\w+)/g)) expect(names).to.match(wordOf(option));
    const events = firstColumn('Events of opossum');
    for (const event of named(source, /@fires CircuitBreaker#(\w+)/g)) expect(events).to.match(wordOf(event));
  });

  it('names every option and every event of a cockatiel breaker', () => {
    const policy = moduleFile('cockatiel/dist/CircuitBreakerPolicy.d.ts');
    const breakers = ['CountBreaker', 'SamplingBreaker'].map((name) =>
      moduleFile(`cockatiel/dist/breaker/${name}.d.ts`),
    );
    const interfaces = [policy, ...breakers].flatMap((text) =>
      named(
        text,
        /(?:interface I(?:CircuitBreakerOptions|HalfOpenSamplingOptions|CountBreakerOptions|SamplingBreakerOptions) (\{[^]*?\n\}))/g,
      ),
    );
    const names = firstColumn('Options of cockatiel');
    const options = interfaces.flatMap((body) => named(body, /^ {4}(\w+)\??:/gm));
    expect(options).to.include.members(['halfOpenAfter', 'minimumRps', 'size', 'calls']);
    for (const option of options) expect(names).to.match(wordOf(option));
    const events = firstColumn('Events of cockatiel');
    for (const event of named(policy, /(?:readonly|get) (on\w+)/g)) expect(events).to.match(wordOf(event));
  });

  it('names no option of ours that does not exist', () => {
    const words = ['Options of opossum', 'Options of cockatiel'].flatMap((title) =>
      page
        .tableOf(title)
        .slice(1)
        .flatMap(([, ours]) => named(ours!, /\b([a-z]+[A-Z]\w+|window|mode)\b/g)),
    );
    expect(words.length).to.be.greaterThan(15);
    for (const word of words) expect(OPTIONS).to.have.property(word);
  });
});

function wordOf(name: string): RegExp {
  return new RegExp(`\\b${name}\\b`);
}
