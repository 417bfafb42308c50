import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import ts from 'typescript';

const ROOT = join(__dirname, '..');

/** One source file and what it says of itself. */
export interface IndexedFile {
  /** From the root, with slashes. */
  readonly path: string;
  /** What the map of CONTRIBUTING.md says of it, else the comment at its top, else the first sentence of a doc comment. */
  readonly about: string;
}

/** The lines of the map of CONTRIBUTING.md: a path, and what is there. */
const MAP = new Map(
  [...readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8').matchAll(/^((?:src|instrumentations)\/\S*) +(\S.*)$/gm)].map(
    ([, path, about]) => [path!.replace(/\/$/, ''), about!],
  ),
);

/** Every source file that is published, folder by folder. */
export function indexFiles(): readonly IndexedFile[] {
  return ['src', 'instrumentations'].flatMap((folder) => find(folder)).map((path) => ({ path, about: aboutOf(path) }));
}

/** Files of a folder first, then its folders. */
function find(folder: string): string[] {
  const entries = readdirSync(join(ROOT, folder), { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  const files = entries.filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name));
  const folders = entries.filter((entry) => entry.isDirectory());
  return [...files.map(({ name }) => `${folder}/${name}`), ...folders.flatMap(({ name }) => find(`${folder}/${name}`))];
}

function aboutOf(path: string): string {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const [, top] = /^\/\/ (.*)\n(?!\/\/)/.exec(text) ?? [];
  const said = MAP.get(path) ?? top;
  if (said !== undefined) return cell(said);
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const statements = source.statements.filter((statement) => docOf(statement) !== undefined);
  const exported = statements.filter(isExported);
  // A comment before the imports is about the file. What it is named after says what it is for; else its first class, else the first thing it gives to others.
  const main =
    statements.find((statement) => ts.isImportDeclaration(statement)) ??
    exported.find((statement) => isNamedAfter(statement, path)) ??
    exported.find((statement) => ts.isClassDeclaration(statement)) ??
    exported.find((statement) => ts.isFunctionDeclaration(statement)) ??
    exported[0] ??
    statements[0];
  if (main === undefined) throw new Error(`${path} says nowhere what it is for: begin it with a comment`);
  return cell(firstSentence(docOf(main)!));
}

function isExported(statement: ts.Statement): boolean {
  if (!ts.canHaveModifiers(statement)) return false;
  return ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false;
}

function isNamedAfter(statement: ts.Statement, path: string): boolean {
  const name = (statement as { name?: ts.Identifier }).name?.text ?? variableOf(statement);
  const plain = (text: string) => text.replaceAll(/[^a-z]/gi, '').toLowerCase();
  return name !== undefined && plain(name) === plain(basename(path).replace(/\.\w+$/, ''));
}

function variableOf(statement: ts.Statement): string | undefined {
  if (!ts.isVariableStatement(statement)) return undefined;
  const [declaration] = statement.declarationList.declarations;
  return declaration !== undefined && ts.isIdentifier(declaration.name) ? declaration.name.text : undefined;
}

function docOf(statement: ts.Statement): string | undefined {
  const docs = ts.getJSDocCommentsAndTags(statement).filter((node) => ts.isJSDoc(node));
  return ts.getTextOfJSDocComment(docs[0]?.comment) || undefined;
}

function firstSentence(text: string): string {
  const [sentence] = text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/\{@link (\w+)\}/g, '`$1`')
    .split(/(?<=[^.]\.) (?=[A-Z`])/);
  return sentence!;
}

function cell(text: string): string {
  return text.replace(/\.$/, '').replaceAll('|', '\\|');
}

/** A heading and a table for each folder. */
export function renderFilesIndex(): string {
  const folders = new Map<string, IndexedFile[]>();
  for (const file of indexFiles()) {
    const folder = dirname(file.path);
    folders.set(folder, [...(folders.get(folder) ?? []), file]);
  }
  return [...folders]
    .map(([folder, files]) => {
      const rows = files.map(({ path, about }) => `| \`${basename(path)}\` | ${about} |`);
      const about = MAP.get(folder);
      return [
        `## ${folder}`,
        '',
        ...(about === undefined ? [] : [`${about}.`, '']),
        '| file | about |',
        '| --- | --- |',
        ...rows,
      ].join('\n');
    })
    .join('\n\n');
}
