import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { slug } from 'github-slugger';
import MarkdownIt, { type Token } from 'markdown-it';
import { ROOT } from '../support/child.js';

/** A block of code in a document: its language, and after that, what it is. */
export interface Fence {
  readonly language: string;
  /** What stands after the language: `app.mjs` names a file of the page. */
  readonly role: string;
  readonly content: string;
  readonly line: number;
}

export interface Link {
  readonly target: string;
  readonly line: number;
}

export interface Section {
  readonly title: string;
  readonly level: number;
  /** What a link to it says after the `#`. */
  readonly anchor: string;
  /** Plain text of all paragraphs, lists and tables until the next heading of any level. */
  readonly text: string;
}

/** Rows of a table, each with the plain text of its cells; the head is the first. */
export type Table = readonly (readonly string[])[];

/** A Markdown document of this repository, as GitHub reads it. */
export class Document {
  /** From the root, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly #tokens: readonly Token[];

  constructor(path: string) {
    this.path = path.replaceAll(sep, '/');
    this.text = readFileSync(join(ROOT, path), 'utf8');
    // HTML stays in: our marks for generated parts are comments, and GitHub takes some tags.
    this.#tokens = new MarkdownIt({ html: true }).parse(this.text, {});
  }

  get fences(): readonly Fence[] {
    return this.#tokens
      .filter(({ type }) => type === 'fence' || type === 'code_block')
      .map(({ type, info, content, map }) => {
        // What is only indented is a command, as in a manual.
        const [language = '', ...role] = type === 'fence' ? info.trim().split(/\s+/) : ['sh'];
        return { language, role: role.join(' '), content, line: map![0] + 1 };
      });
  }

  /** Links and images. */
  get links(): readonly Link[] {
    let line = 1;
    return this.#tokens.flatMap(({ map, children }) => {
      // Cells of a table have no place of their own; their row has.
      line = (map?.[0] ?? line - 1) + 1;
      return (children ?? [])
        .filter(({ type }) => type === 'link_open' || type === 'image')
        .map((token) => ({ target: decodeURI(token.attrGet(token.type === 'image' ? 'src' : 'href')!), line }));
    });
  }

  get sections(): readonly Section[] {
    const sections: { title: string; level: number; anchor: string; text: string }[] = [];
    const taken = new Map<string, number>();
    this.#tokens.forEach((token, index) => {
      if (token.type !== 'inline') return;
      const before = this.#tokens[index - 1]!;
      if (before.type !== 'heading_open') {
        const section = sections.at(-1);
        if (section !== undefined) section.text += `${plainText(token)}\n`;
        return;
      }
      const title = plainText(token);
      // Headings of the same text are numbered from the second.
      const base = slug(title);
      const count = taken.get(base) ?? 0;
      taken.set(base, count + 1);
      const anchor = count === 0 ? base : `${base}-${count}`;
      sections.push({ title, level: Number(before.tag.slice(1)), anchor, text: '' });
    });
    return sections;
  }

  get tables(): readonly Table[] {
    const tables: string[][][] = [];
    this.#tokens.forEach((token, index) => {
      if (token.type === 'table_open') tables.push([]);
      else if (token.type === 'tr_open') tables.at(-1)!.push([]);
      else if (token.type === 'th_open' || token.type === 'td_open') {
        tables
          .at(-1)!
          .at(-1)!
          .push(plainText(this.#tokens[index + 1]!));
      }
    });
    return tables;
  }

  /** The table under a heading. */
  tableOf(title: string): Table {
    const from = this.#tokens.findIndex((token, index) => {
      return token.type === 'inline' && this.#tokens[index - 1]!.type === 'heading_open' && plainText(token) === title;
    });
    if (from < 0) throw new Error(`${this.path} has no heading "${title}"`);
    const before = this.#tokens.slice(0, from).filter(({ type }) => type === 'table_open').length;
    const table = this.tables[before];
    if (table === undefined) throw new Error(`${this.path} has no table under "${title}"`);
    return table;
  }
}

function plainText({ children, content }: Token): string {
  if (children === null) return content;
  return children
    .map((child) => (child.type === 'softbreak' ? ' ' : child.type.startsWith('html') ? '' : child.content))
    .join('');
}

// Not documents: what tests expect and what tools write, and what is not ours.
const NOT_OURS = new Set(['node_modules', 'dist', 'coverage', '.servers', '.git', 'fixtures', 'api']);

/** Every Markdown document of this repository. */
export function findDocuments(): readonly Document[] {
  const find = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : find(path);
      return entry.name.endsWith('.md') ? [relative(ROOT, path)] : [];
    });
  return find(ROOT).map((path) => new Document(path));
}

/**
 * Why a link of a document leads nowhere; `undefined` where it leads somewhere, or to another site.
 *
 * @param documents all that are there: anchors are looked up in them
 * @param has whether there is a file or folder of that path
 */
export function problemOfLink(
  { path }: Document,
  target: string,
  documents: readonly Document[],
  has: (path: string) => boolean,
): string | undefined {
  if (/^[a-z][a-z+.-]*:/i.test(target)) return undefined;
  const [file = '', anchor] = target.split('#', 2);
  const linked = file === '' ? path : posix.normalize(posix.join(posix.dirname(path), file)).replace(/\/$/, '');
  if (linked.startsWith('..')) return 'leads out of the repository';
  if (!has(linked)) return `there is no ${linked}`;
  if (anchor === undefined) return undefined;
  const document = documents.find((candidate) => candidate.path === linked);
  if (document === undefined) return `${linked} is no document`;
  const anchors = document.sections.map((section) => section.anchor);
  return anchors.includes(anchor) ? undefined : `${linked} has no #${anchor}; it has ${anchors.join(', ')}`;
}
