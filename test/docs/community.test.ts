import { expect } from 'chai';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT } from '../support/child.js';

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

interface Form {
  readonly name: string;
  readonly description: string;
  readonly body: readonly {
    readonly type: string;
    readonly id?: string;
    readonly attributes: Record<string, unknown>;
  }[];
}

describe('what contributors meet', () => {
  const forms = readdirSync(join(ROOT, '.github/ISSUE_TEMPLATE')).filter((file) => file !== 'config.yml');

  for (const file of forms) {
    it(`has an issue form that GitHub takes: ${file}`, () => {
      const { name, description, body } = parse(read(`.github/ISSUE_TEMPLATE/${file}`)) as Form;
      expect(name).to.be.a('string').that.is.not.empty;
      expect(description).to.be.a('string').that.is.not.empty;
      const ids = body.flatMap(({ id }) => id ?? []);
      expect(new Set(ids).size, 'an id stands twice').to.equal(ids.length);
      for (const { type, id, attributes } of body) {
        expect(['markdown', 'input', 'textarea', 'dropdown', 'checkboxes']).to.include(type);
        expect(id === undefined, `only text has no id`).to.equal(type === 'markdown');
        expect(attributes).to.have.property(type === 'markdown' ? 'value' : 'label');
      }
    });
  }

  it('names files and folders that are there', () => {
    const owned = [...read('.github/CODEOWNERS').matchAll(/^(\/\S+)/gm)].map(([, path]) => path!);
    const { updates } = parse(read('.github/dependabot.yml')) as {
      updates: { directory?: string; directories?: string[] }[];
    };
    const updated = updates.flatMap(({ directory, directories = [directory!] }) => directories);
    const mentioned = forms.flatMap(
      (file) => read(`.github/ISSUE_TEMPLATE/${file}`).match(/\b(?:docs\/)?[\w-]+\.md\b/g) ?? [],
    );
    const missing = [...owned, ...updated, ...mentioned].filter((path) => !existsSync(join(ROOT, path)));
    expect(missing).to.deep.equal([]);
  });

  it('has a map of the folders that are there', () => {
    const contributing = read('CONTRIBUTING.md');
    const map = contributing.slice(
      contributing.indexOf('## Where things are'),
      contributing.indexOf('## What we hold to'),
    );
    const mapped = [...map.matchAll(/^([\w-]+\/[\w./-]*)/gm)].map(([, path]) => path!);
    expect(mapped.filter((path) => !existsSync(join(ROOT, path)))).to.deep.equal([]);
    const folders = ['src', 'instrumentations'].flatMap((parent) =>
      readdirSync(join(ROOT, parent), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => `${parent}/${entry.name}/`),
    );
    expect(mapped).to.include.members(folders);
  });

  it('asks for commands that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const asked = [...read('.github/pull_request_template.md').matchAll(/npm (?:run )?(\w+)/g)].map(
      ([, name]) => name!,
    );
    expect(asked).not.to.be.empty;
    expect(Object.keys(scripts)).to.include.members(asked);
  });
});
