import { expect } from 'chai';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { parseRules } from '../../src/rules/load.js';
import { ROOT } from '../support/child.js';
import { findDocuments, type Document, type Fence } from './documents.js';
import { isFileName } from './page-directory.js';

const documents = findDocuments();
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  name: string;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
};
const packages = new Set([
  manifest.name,
  ...Object.keys({ ...manifest.dependencies, ...manifest.devDependencies, ...manifest.peerDependencies }),
]);

/** Languages of blocks and who tries them; what is in `text` and its like is for reading only. */
const TRIED: Readonly<Record<string, string>> = {
  ts: 'snippets.test.ts, or the test of its page',
  js: 'snippets.test.ts, or the test of its page',
  sh: 'below',
  yaml: 'below',
  json: 'below',
};
const FOR_READING = ['text', 'http', 'mermaid', 'dockerfile', 'ini'];

/** Programs that a reader has and this machine may not: what they do is not ours to test. */
const ELSEWHERE = ['docker', 'apt-get'];

const quickReference = documents.find(({ path }) => path === 'docs/quick-reference.md')!;
const endpoints = quickReference.tableOf('Endpoints').map(([path]) => path!.replace('{name}', '[^/]+'));
const commands = [...quickReference.text.matchAll(/^ {2}(\w+) [<[]/gm)].map(([, name]) => name!);

/** What is wrong with one simple command of a document; `undefined` where nothing is. */
function problemOf(document: Document, command: string): string | undefined {
  const words = command.split(/\s+/).filter((word) => !/^[A-Z_]+=/.test(word));
  const [program, ...args] = words;
  const [first] = args;
  if (program === undefined || ELSEWHERE.includes(program)) return undefined;
  if (program === 'npm') {
    if (first === 'ci' || first === 'test') return undefined;
    if (first === 'run') return manifest.scripts[args[1]!] ? undefined : `there is no script "${args[1]}"`;
    if (first === 'install' || first === 'uninstall') {
      const unknown = args.slice(1).filter((name) => !name.startsWith('-') && !packages.has(name));
      return unknown.length === 0 ? undefined : `${unknown.join(', ')}: not among the packages that are tried here`;
    }
  }
  if (program === 'npx') {
    if (first === manifest.name) {
      return commands.includes(args[1]!) ? undefined : `there is no command "${args[1]}"`;
    }
    if (first === 'tsx') return problemOfFile(document, args.at(-1)!);
    return packages.has(first!) ? undefined : `${first} is not among the packages that are tried here`;
  }
  if (program === 'node')
    return problemOfFile(
      document,
      args.find((word) => /\.[cm]?[jt]s$/.test(word))!,
    );
  if (program === 'promtool') return problemOfFile(document, args.at(-1)!);
  if (program === 'curl') return problemOfRequest(document, command);
  return `${program} is a program that no test knows`;
}

/** Where OTLP is taken by everybody who takes it over HTTP. */
const OTLP = /localhost:4318\/v1\/(traces|metrics|logs)$/;

function problemOfRequest(document: Document, command: string): string | undefined {
  const [, sent] = /-d @(\S+)/.exec(command) ?? [];
  if (sent !== undefined && problemOfFile(document, sent) !== undefined) return problemOfFile(document, sent);
  if (OTLP.test(command)) return undefined;
  const [, path] = /localhost:9464(\/[^\s"?]*)/.exec(command) ?? [];
  if (path === undefined) return 'not at the port of the preload';
  return endpoints.some((endpoint) => new RegExp(`^${endpoint}$`).test(path)) ? undefined : `nothing answers ${path}`;
}

/** The application of the reader, by the names that it has in documents. */
const READERS = /^(app|main|server)\.[cm]?js$|^dist\/main\.js$/;

function problemOfFile({ fences }: Document, file: string): string | undefined {
  const known = READERS.test(file) || fences.some(({ role }) => role === file) || existsSync(join(ROOT, file));
  return known ? undefined : `there is no ${file}`;
}

/** The simple commands of a block, without comments. */
function commandsOf({ content }: Fence): string[] {
  return content
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*/, ''))
    .flatMap((line) => line.split(/&&|\||;/))
    .map((command) => command.trim())
    .filter((command) => command !== '');
}

// In it, and above, are the files that rules of the documents name.
const RULES_FOLDER = join(ROOT, 'test/fixtures/rules-of-docs/own');

describe('blocks of documents', () => {
  for (const document of documents) {
    const place = ({ line }: Fence) => `${document.path}:${line}`;
    const of = (language: string) => document.fences.filter((fence) => fence.language === language);

    it(`say in ${document.path} what they are`, () => {
      for (const fence of document.fences) {
        expect([...Object.keys(TRIED), ...FOR_READING], place(fence)).to.include(fence.language);
      }
    });

    for (const fence of of('sh')) {
      // Those with a role are run by the test of their page.
      if (fence.role !== '') continue;
      it(`hold commands that exist: ${place(fence)}`, () => {
        const problems = commandsOf(fence).flatMap((command) => problemOf(document, command) ?? []);
        expect(problems).to.deep.equal([]);
      });
    }

    for (const fence of of('yaml')) {
      it(`hold ${fence.role || 'rules'} that can be taken: ${place(fence)}`, () => {
        for (const { errors } of parseAllDocuments(fence.content)) expect(errors).to.deep.equal([]);
        if (fence.role === '') parseRules('otel-breaker.yaml', fence.content, {}, RULES_FOLDER);
      });
    }

    for (const fence of of('json')) {
      it(`hold JSON: ${place(fence)}`, () => void JSON.parse(fence.content));
    }
  }

  it('with roles are of pages whose tests know them', () => {
    for (const { path, fences } of documents) {
      const roles = new Set(fences.map(({ role }) => role).filter((role) => role !== '' && !isFileName(role)));
      const known: Readonly<Record<string, readonly string[]>> = {
        'docs/initialization.md': ['run', 'otel', 'serve', 'off', 'by-hand', 'kubernetes'],
        'docs/operations.md': ['console', 'promql'],
        'docs/quick-reference.md': ['promql'],
        'docs/why.md': ['console', 'promql'],
        'docs/migration.md': ['opossum', 'cockatiel', 'otel-breaker'],
      };
      expect(['child', ...(known[path] ?? [])], path).to.include.members([...roles]);
    }
  });

  it('with mistakes would be noticed', () => {
    const document = documents.find(({ path }) => path === 'README.md')!;
    expect(problemOf(document, 'npm run nothing')).to.equal('there is no script "nothing"');
    expect(problemOf(document, 'npx otel-breaker explode')).to.equal('there is no command "explode"');
    expect(problemOf(document, 'curl localhost:9464/metric')).to.equal('nothing answers /metric');
    expect(problemOf(document, 'node --require otel-breaker/register gone.mjs')).to.equal('there is no gone.mjs');
    expect(problemOf(document, 'rm -rf /')).to.equal('rm is a program that no test knows');
    expect(commandsOf({ language: 'sh', role: '', line: 1, content: 'A=1 b c # d\n# e\nf && g | h' })).to.deep.equal([
      'A=1 b c',
      'f',
      'g',
      'h',
    ]);
  });
});
