import { expect } from 'chai';
import { existsSync, readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import Module from 'node:module';
import { join } from 'node:path';
import ts from 'typescript';
import { closeAfterEach, listen } from '../support/listen.js';

const ROOT = join(__dirname, '../..');
const DOCUMENT = join(ROOT, 'docs/programmatic.md');

interface Snippet {
  readonly title: string;
  readonly file: string;
  readonly source: string;
}

function snippets(): Snippet[] {
  const text = readFileSync(DOCUMENT, 'utf8');
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, source], index) => ({
    title: source!.split('\n').find((line) => line.startsWith('//')) ?? source!.split('\n', 1)[0]!,
    file: join(ROOT, 'docs', `snippet-${index + 1}.ts`),
    source: source!,
  }));
}

/** What the made-up services of the snippets answer. */
const ANSWERS: Readonly<Record<string, object>> = {
  '/openai/chat/completions': {
    id: 'c',
    object: 'chat.completion',
    choices: [{ index: 0, message: { content: 'hi' } }],
  },
  '/anthropic/v1/messages': { id: 'm', type: 'message', role: 'assistant', content: [{ type: 'text', text: 'hi' }] },
};
const EVENTS: Readonly<Record<string, string>> = {
  '/openai/chat/completions': 'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n',
  '/anthropic/v1/messages': [
    { type: 'message_start', message: { id: 'm', type: 'message', role: 'assistant', content: [], usage: {} } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'hi' } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_stop' },
  ]
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join(''),
};

function respond(path: string, body: string, response: ServerResponse): void {
  if (body.includes('"stream":true')) {
    response.setHeader('content-type', 'text/event-stream');
    response.end(EVENTS[path]);
  } else {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(ANSWERS[path] ?? { path }));
  }
}

describe('docs/programmatic.md', () => {
  const close = closeAfterEach();

  it('has snippets whose types the compiler takes', () => {
    const files = new Map(snippets().map(({ file, source }) => [file, source]));
    const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => readFileSync(path, 'utf8')) as {
      config: { compilerOptions: object };
    };
    // Top-level await, as in the ES module that a reader would put a snippet into.
    const compilerOptions = { ...config.compilerOptions, module: 'esnext', moduleResolution: 'bundler' };
    const { options } = ts.convertCompilerOptionsFromJson({ ...compilerOptions, noUnusedLocals: false }, ROOT);
    const host = ts.createCompilerHost(options);
    const { readFile, fileExists } = host;
    host.readFile = (path) => files.get(path) ?? readFile.call(host, path);
    host.fileExists = (path) => files.has(path) || fileExists.call(host, path);
    host.getSourceFile = (path, version) => {
      const source = host.readFile(path);
      return source === undefined ? undefined : ts.createSourceFile(path, source, version);
    };
    const problems = ts.getPreEmitDiagnostics(ts.createProgram([...files.keys()], options, host));
    expect(problems.map((problem) => ts.formatDiagnostic(problem, hostOfMessages))).to.deep.equal([]);
  });

  for (const snippet of snippets()) {
    it(`runs: ${snippet.title}`, async () => {
      const { url } = close(
        await listen((request, response) => {
          let body = '';
          request.on('data', (text) => (body += text));
          request.on('end', () => respond(request.url!, body, response));
        }),
      );
      const printed: unknown[][] = [];
      const { outputText } = ts.transpileModule(snippet.source.replaceAll('https://api.example.com', url), {
        compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS, esModuleInterop: true },
      });
      // eslint-disable-next-line @typescript-eslint/no-implied-eval -- a snippet of ours, just compiled
      const run = new Function('require', 'exports', 'console', `return (async () => { ${outputText} })()`) as (
        ...scope: unknown[]
      ) => Promise<void>;
      await run(requireOf(snippet), {}, { log: (...values: unknown[]) => printed.push(values) });
      if (snippet.source.includes('console.log')) expect(printed).not.to.be.empty;
    });
  }

  it('links to files that exist', () => {
    const links = [...readFileSync(DOCUMENT, 'utf8').matchAll(/\]\(([^)#]+)\)/g)].map(([, link]) => link!);
    expect(links).not.to.be.empty;
    for (const link of links) expect(existsSync(join(ROOT, 'docs', link)), link).to.be.true;
  });
});

/** What a snippet imports, our own names from the sources. */
function requireOf({ file }: Snippet): (name: string) => unknown {
  const require = Module.createRequire(file);
  const own: Readonly<Record<string, string>> = {
    'otel-breaker': '../src/index.js',
    'otel-breaker/middleware': '../src/middleware/index.js',
  };
  return (name) => require(own[name] ?? name) as unknown;
}

const hostOfMessages: ts.FormatDiagnosticsHost = {
  getCanonicalFileName: (path) => path,
  getCurrentDirectory: () => ROOT,
  getNewLine: () => '\n',
};
