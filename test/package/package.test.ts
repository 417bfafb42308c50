import { expect } from 'chai';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { formatMessage } from 'publint/utils';
import { publint } from 'publint';
import { findDocuments, problemOfLink } from '../docs/documents.js';
import { ROOT, runNode } from '../support/child.js';
import { emptyFolder, pack, type Tarball } from './tarball.js';

interface Manifest {
  readonly main: string;
  readonly types: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
}

describe('the package', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;
  let folder: string;
  let tarball: Tarball;

  before(() => {
    folder = emptyFolder();
    tarball = pack(folder);
  });
  after(() => rmSync(folder, { recursive: true }));

  it('has in it what it is run from, its documents and what they show, and nothing else', () => {
    const beside = [
      'CHANGELOG.md',
      'CODE_OF_CONDUCT.md',
      'CONTRIBUTING.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'package.json',
      'dist/schema.json',
      'dist/otel-breaker.yaml',
      'dist/src/at-start.js',
    ];
    const compiled = /^dist\/((?:src|instrumentations)\/[\w/-]+)(?:\.js|\.d\.ts)$/;
    const page = /^dist\/page\/[\w-]+\.(?:html|js|css|svg|txt)$/i;
    const read = /^(?:docs\/.+\.(?:md|json|webp)|deploy\/.+\.(?:ya?ml|json)|examples\/.+\.(?:md|m?ts|mjs|yaml))$/;
    const others = tarball.files.filter((file) => {
      if (beside.includes(file)) return false;
      const source = compiled.exec(file)?.[1];
      if (source !== undefined) return !existsSync(join(ROOT, `${source}.ts`));
      return !page.test(file) && !read.test(file);
    });
    expect(others, 'files of no use').to.deep.equal([]);
    expect(tarball.files).to.include.members(beside);
    expect(tarball.files.filter((file) => page.test(file))).to.include('dist/page/index.html');
  });

  it('has every file in it that its manifest names, with its types', () => {
    const { main, types, bin, exports } = manifest;
    const named = [main, types, ...Object.values(bin), ...Object.values(exports)].map((path) => path.slice(2));
    expect(tarball.files).to.include.members(named);
    const typed = named.filter((path) => path.endsWith('.js')).map((path) => path.replace(/\.js$/, '.d.ts'));
    expect(tarball.files).to.include.members(typed);
  });

  it('has every file in it that a link of its documents leads to', () => {
    const has = (path: string) => tarball.files.some((file) => file === path || file.startsWith(`${path}/`));
    const packed = findDocuments().filter(({ path }) => tarball.files.includes(path));
    expect(packed.map(({ path }) => path)).to.include.members(['README.md', 'docs/operations.md', 'docs/console.md']);
    const problems = packed.flatMap((document) =>
      document.links.flatMap(({ target, line }) => {
        const problem = problemOfLink(document, target, packed, has);
        return problem === undefined ? [] : [`${document.path}:${line}: ${target}: ${problem}`];
      }),
    );
    expect(problems).to.deep.equal([]);
  });

  it('is small enough to be loaded by everybody', () => {
    expect(statSync(tarball.path).size).to.be.below(1_500_000);
    const pictures = tarball.files.filter((file) => file.startsWith('docs/images/'));
    expect(pictures).to.not.be.empty;
    for (const picture of pictures) expect(statSync(join(ROOT, picture)).size, picture).to.be.at.most(60_000);
  });

  it('is well formed, as publint judges', async () => {
    const buffer = readFileSync(tarball.path);
    const { messages, pkg } = await publint({
      pack: { tarball: buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) },
      strict: true,
    });
    expect(messages.map((message) => formatMessage(message, pkg))).to.deep.equal([]);
  });

  it('has types that are right for CommonJS, ES modules and bundlers, as are-the-types-wrong judges', async () => {
    // In a process of its own: it is there for ES modules only.
    const source = `
      import { readFileSync } from 'node:fs';
      import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
      const tarball = new Uint8Array(readFileSync(${JSON.stringify(tarball.path)}));
      const { types, problems, entrypoints } = await checkPackage(createPackageFromTarballData(tarball));
      console.log(JSON.stringify({ types, problems, entries: Object.keys(entrypoints) }));`;
    const { stdout, stderr } = await runNode({ program: { kind: 'module', source } });
    expect(stderr).to.equal('');
    const { types, problems, entries } = JSON.parse(stdout) as {
      types: unknown;
      problems: { resolutionKind?: string }[];
      entries: string[];
    };
    expect(types).to.deep.equal({ kind: 'included' });
    expect(entries).to.have.members(Object.keys(manifest.exports));
    // The resolution before Node 12 knows no "exports": it finds the main entry, and no other.
    expect(problems.filter(({ resolutionKind }) => resolutionKind !== 'node10')).to.deep.equal([]);
  });

  it('has as many dependencies as its page on security says', () => {
    const WORDS = ['No', 'One', 'Two', 'Three', 'Four', 'Five', 'Six', 'Seven', 'Eight', 'Nine'];
    const security = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8');
    const [, said] = /^- (\w+) runtime dependenc(?:y|ies),/m.exec(security) ?? [];
    expect(said).to.equal(WORDS[Object.keys(manifest.dependencies).length]);
  });

  it('has each of its dependencies explained', () => {
    const contributing = readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8');
    const dependencies = contributing.slice(contributing.indexOf('## Dependencies'));
    for (const name of Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })) {
      expect(dependencies, name).to.contain(`\`${name}\``);
    }
  });
});
