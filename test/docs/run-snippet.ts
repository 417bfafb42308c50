import type { ServerResponse } from 'node:http';
import Module from 'node:module';
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import ts from 'typescript';
import { ROOT, runNode } from '../support/child.js';
import { listen } from '../support/listen.js';
import type { Document, Fence } from './documents.js';
import { pageDirectory } from './page-directory.js';

/** A block of code in a document that runs as it stands. */
export interface Snippet extends Fence {
  readonly document: Document;
  /** Where it would be, if it were a file. */
  readonly file: string;
  /** Its first comment, else its first line. */
  readonly title: string;
}

const LANGUAGES = ['ts', 'js'];

/** The role of a snippet that changes its whole process, and so runs in one of its own. */
const CHILD = 'child';

/** Those that run by themselves, or those with other roles. */
export function snippetsOf(document: Document, roles: readonly string[] = ['', CHILD]): Snippet[] {
  return document.fences
    .filter(({ language, role }) => LANGUAGES.includes(language) && roles.includes(role))
    .map((fence) => ({
      ...fence,
      document,
      file: join(ROOT, document.path, '..', `line-${fence.line}-of-${document.path.replaceAll(/\W/g, '-')}.ts`),
      title: fence.content.split('\n').find((line) => line.startsWith('//')) ?? fence.content.split('\n', 1)[0]!,
    }));
}

/** The service that snippets call; it knows what the LLM services answer. */
export const SERVICE = 'https://api.example.com';

/** Runs a snippet as the ES module that a reader would put it into, its service being a server of ours. */
export async function runSnippet(snippet: Snippet): Promise<string[]> {
  const service = await listen((request, response) => {
    let body = '';
    request.on('data', (text) => (body += text));
    request.on('end', () => respond(request.url!, body, response));
  });
  try {
    const source = snippet.content.replaceAll(SERVICE, service.url);
    return await (snippet.role === CHILD ? runAlone(snippet, source) : runHere(snippet, source));
  } finally {
    await service.close();
  }
}

async function runAlone({ document }: Snippet, source: string): Promise<string[]> {
  const directory = pageDirectory(document);
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const file = join(directory, 'snippet.mjs');
  writeFileSync(file, outputText);
  const { code, stdout, stderr } = await runNode({ program: file, env: { OTEL_BREAKER_METRICS: 'off' } });
  if (code !== 0) throw new Error(`Ended with ${String(code)}:\n${stdout}${stderr}`);
  return stdout.split('\n').filter((line) => line !== '');
}

async function runHere(snippet: Snippet, source: string): Promise<string[]> {
  const printed: string[] = [];
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS, esModuleInterop: true },
  });
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- a snippet of ours, just compiled
  const run = new Function('require', 'exports', 'module', 'console', `return (async () => { ${outputText} })()`) as (
    ...scope: unknown[]
  ) => Promise<void>;
  const print = { log: (...values: unknown[]) => printed.push(values.map(String).join(' ')) };
  await run(requireOf(snippet), {}, { exports: {} }, print);
  return printed;
}

/** What a snippet imports, our own names from the sources. */
function requireOf({ file }: Snippet): (name: string) => unknown {
  const require = Module.createRequire(file);
  const own: Readonly<Record<string, string>> = {
    'otel-breaker': '../../src/index.js',
    'otel-breaker/middleware': '../../src/middleware/index.js',
  };
  return (name) => (own[name] === undefined ? require(name) : Module.createRequire(__filename)(own[name])) as unknown;
}

/** Everything that the compiler has against snippets, taken together. */
export function typeProblems(snippets: readonly Snippet[]): string[] {
  const typed = snippets.filter(({ language }) => language === 'ts');
  const files = new Map(typed.map(({ file, content }) => [file, content]));
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile.bind(ts.sys)) as {
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
  return problems.map((problem) => ts.formatDiagnostic(problem, hostOfMessages));
}

const hostOfMessages: ts.FormatDiagnosticsHost = {
  getCanonicalFileName: (path) => path,
  getCurrentDirectory: () => ROOT,
  getNewLine: () => '\n',
};

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
