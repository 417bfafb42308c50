// Writes what documents say of options, presets, events, patches, files and the command, from where it is decided, and docs/api.md.
// Run it by `npm run reference`; a test compares.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig as resolveStyle } from 'prettier';
import { resolveConfig } from '../src/breaker/config.js';
import { oneOf, OPTIONS, PRESET_NAMES, type OptionKey, type OptionSpec } from '../src/breaker/options.js';
import { presets } from '../src/breaker/presets.js';
import { formatDuration } from '../src/rules/explain.js';
import { renderApiReference } from './api-reference.js';
import { eventAttributes } from './event-attributes.js';
import { renderFilesIndex } from './files-index.js';
import { patchedMethods } from './patched-methods.js';

const ROOT = join(__dirname, '..');

/** Parts of documents by their mark: `<!-- begin options -->` … `<!-- end options -->`. */
const PARTS: Readonly<Record<string, () => string | Promise<string>>> = {
  options: optionsTable,
  'option defaults': defaultsTable,
  presets: presetsTable,
  command: commandHelp,
  events: eventsTable,
  patches: patchesTable,
  files: renderFilesIndex,
};

const DOCUMENTS = ['docs/configuration.md', 'docs/files.md', 'docs/implementation.md', 'docs/quick-reference.md'];
const API = 'docs/api.md';

/** Every document that is written or completed from here, as it should be. */
export async function renderReference(): Promise<Map<string, string>> {
  const documents = new Map<string, string>();
  const whole = DOCUMENTS.map((file) => readFileSync(join(ROOT, file), 'utf8')).join('\n');
  for (const name of Object.keys(PARTS)) {
    if (!whole.includes(beginOf(name))) throw new Error(`No document has a place for the part "${name}"`);
  }
  for (const file of DOCUMENTS) {
    documents.set(file, await tidy(file, await complete(readFileSync(join(ROOT, file), 'utf8'))));
  }
  documents.set(API, await tidy(API, renderApiReference()));
  return documents;
}

function beginOf(name: string): string {
  return `<!-- begin ${name} -->`;
}

async function complete(text: string): Promise<string> {
  let completed = text;
  for (const [, name] of text.matchAll(/<!-- begin ([\w ]+) -->/g)) {
    const [begin, end] = [beginOf(name!), `<!-- end ${name!} -->`];
    const [before, rest] = completed.split(begin);
    const after = rest!.split(end)[1];
    const render = PARTS[name!];
    if (render === undefined || after === undefined) {
      throw new Error(`${begin}: there is no such part, or no end of it. Parts are: ${Object.keys(PARTS).join(', ')}`);
    }
    completed = `${before!}${begin}\n\n${await render()}\n\n${end}${after}`;
  }
  return completed;
}

async function tidy(file: string, text: string): Promise<string> {
  const path = join(ROOT, file);
  return format(text, { ...(await resolveStyle(path)), filepath: path });
}

function optionsTable(): string {
  return table(
    ['option', 'allowed', 'default', 'meaning'],
    optionRows((key, spec) => [`\`${key}\``, allowed(spec), defaultOf(key), spec.describe]),
  );
}

function defaultsTable(): string {
  return table(
    ['option', 'allowed', 'default'],
    optionRows((key, spec) => [`\`${key}\``, allowed(spec), defaultOf(key)]),
  );
}

function optionRows(row: (key: OptionKey, spec: OptionSpec) => string[]): string[][] {
  return (Object.keys(OPTIONS) as OptionKey[]).map((key) => row(key, OPTIONS[key]));
}

function allowed(spec: OptionSpec): string {
  switch (spec.kind) {
    case 'count':
      return 'whole number from 1';
    case 'share':
      return spec.zero === undefined ? '0 to 1' : 'above 0, at most 1';
    case 'factor':
      return 'number from 1';
    case 'duration':
      return `duration from ${formatDuration(spec.min)}${spec.off ? ', or `off`' : ''}`;
    case 'window':
      return `duration from ${formatDuration(spec.min)}, or \`100 calls\``;
    case 'quorum':
      return 'whole number from 1, or `3 of 5`';
    case 'flag':
      return 'true, false';
    case 'choice':
      return oneOf(spec.values).replaceAll('"', '`');
    case 'statuses':
      return 'list of `429`, `5xx`, `"!501"`';
    case 'answer':
      return '`status`, `headers`, and `body` or `file`';
    case 'function':
      return 'function, in code only';
  }
}

function defaultOf(key: OptionKey): string {
  const value = resolveConfig()[key];
  if (value === undefined) return 'not set';
  if (key === 'window' || OPTIONS[key].kind === 'duration') return formatDuration(Number(value));
  if (Array.isArray(value)) return value.join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function presetsTable(): string {
  const keys = [
    'failureThreshold',
    'minimumCalls',
    'openDuration',
    'successThreshold',
    'halfOpenMaxCalls',
    'countTimeouts',
    'honorRetryAfter',
  ] as const satisfies OptionKey[];
  return table(
    ['preset', ...keys.map((key) => `\`${key}\``)],
    PRESET_NAMES.map((name) => [
      `\`${name}\``,
      ...keys.map((key) => {
        const value = presets[name][key];
        return OPTIONS[key].kind === 'duration' ? formatDuration(value as number) : String(value);
      }),
    ]),
  );
}

async function eventsTable(): Promise<string> {
  const attributes = await eventAttributes();
  const names = [...attributes.keys()];
  const all = [...new Set([...attributes.values()].flat())].sort();
  return table(
    ['attribute', ...names.map((name) => `on \`${name}\``)],
    all.map((attribute) => [
      `\`${attribute}\``,
      ...names.map((name) => (attributes.get(name)!.includes(attribute) ? 'yes' : '')),
    ]),
  );
}

function patchesTable(): string {
  return table(
    ['client', 'object', 'methods'],
    patchedMethods().map(([client, object, methods]) => [
      client,
      `\`${object}\``,
      methods.map((method) => `\`${method}\``).join(', '),
    ]),
  );
}

function commandHelp(): string {
  const help = execFileSync(process.execPath, ['--require', 'tsx/cjs', join(ROOT, 'src/cli.ts'), '--help'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return `\`\`\`text\n${help}\`\`\``;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

if (require.main === module) {
  void renderReference().then((documents) => {
    for (const [file, text] of documents) writeFileSync(join(ROOT, file), text);
  });
}
