// docs/api.md, from the declarations and docstrings of the build.
import { readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import ts from 'typescript';
import { PACKAGE } from '../src/version.js';

const ROOT = join(__dirname, '..');
const DIST = join(ROOT, 'dist') + sep;

const ENTRY_POINTS: readonly (readonly [subpath: string, about: string])[] = [
  ['.', 'Breakers in code. Loading it patches nothing.'],
  ['./middleware', 'A circuit before the routes of a service.'],
  ['./instrumentations', 'What the preload starts, for those who build their OpenTelemetry SDK themselves.'],
];

const INTRODUCTION = `# API reference

<!-- Written by scripts/api-reference.ts from the docstrings. Change those, then: npm run reference -->

Everything that \`${PACKAGE.name}\` exports, as its type declarations have it. How to use it: [Breakers in code](programmatic.md).
`;

type Kind = 'Functions' | 'Classes' | 'Constants' | 'Types';
const KINDS: readonly Kind[] = ['Functions', 'Classes', 'Constants', 'Types'];

interface Entry {
  readonly name: string;
  readonly kind: Kind;
  readonly symbol: ts.Symbol;
}

/** The page as it should be, before it is formatted. */
export function renderApiReference(): string {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, string>;
  };
  const files = new Map(
    ENTRY_POINTS.map(([subpath]) => [subpath, join(ROOT, exports[subpath]!.replace(/\.js$/, '.d.ts'))]),
  );
  const program = ts.createProgram([...files.values()], {
    strict: true,
    skipLibCheck: true,
    module: ts.ModuleKind.Node20,
    target: ts.ScriptTarget.ES2022,
  });
  const checker = program.getTypeChecker();
  const described = new Set<ts.Symbol>();

  function entriesOf(file: string): Entry[] {
    const source = program.getSourceFile(file);
    if (source === undefined) throw new Error(`${file} is not there: run \`npm run build\` first`);
    return checker
      .getExportsOfModule(checker.getSymbolAtLocation(source)!)
      .map((exported) => toEntry(exported.name, resolveAlias(exported)))
      .filter(({ symbol }) => !described.has(symbol));
  }

  function resolveAlias(symbol: ts.Symbol): ts.Symbol {
    return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  }

  function describe(entries: readonly Entry[]): string {
    for (const { symbol } of entries) described.add(symbol);
    return KINDS.map((kind) => {
      const ofKind = entries.filter((entry) => entry.kind === kind).sort((a, b) => a.name.localeCompare(b.name, 'en'));
      return ofKind.length === 0 ? '' : `### ${kind}\n\n${ofKind.map(section).join('\n')}`;
    }).join('\n');
  }

  function section({ name, symbol }: Entry): string {
    const code = symbol.declarations!.map(declarationText).join('\n');
    return `#### \`${name}\`\n\n${documentation(symbol)}\n\n\`\`\`ts\n${code}\n\`\`\`\n`;
  }

  function documentation(symbol: ts.Symbol): string {
    const tags = symbol.getJsDocTags(checker).map(({ name, text }) => `- ${tagLine(name, text)}`);
    return `${ts.displayPartsToString(symbol.getDocumentationComment(checker))}\n\n${tags.join('\n')}`;
  }

  /** Types of ours that what is described mentions, without being exported themselves. */
  function mentioned(): Entry[] {
    const found = new Map<ts.Symbol, Entry>();
    function visit(node: ts.Node): void {
      if (ts.isIdentifier(node)) {
        const at = checker.getSymbolAtLocation(node);
        const symbol = at && resolveAlias(at);
        const declaration = symbol?.declarations?.[0];
        const isOurs = declaration?.getSourceFile().fileName.startsWith(DIST.replaceAll(sep, '/')) === true;
        if (isOurs && isTopLevel(declaration) && !described.has(symbol!) && !found.has(symbol!)) {
          found.set(symbol!, toEntry(symbol!.name, symbol!));
          symbol!.declarations!.flatMap(shownParts).forEach(visit);
        }
      }
      ts.forEachChild(node, visit);
    }
    for (const symbol of described) symbol.declarations!.flatMap(shownParts).forEach(visit);
    return [...found.values()];
  }

  const parts = ENTRY_POINTS.map(([subpath, about]) => {
    const heading = `${PACKAGE.name}${subpath.slice(1)}`;
    return `## \`${heading}\`\n\n${about}\n\n${describe(entriesOf(files.get(subpath)!))}`;
  });
  const others = mentioned();
  const rest = `## Types without an export\n\nTypes that those above mention.\n\n${describe(others)}`;
  return [INTRODUCTION, ...parts, ...(others.length > 0 ? [rest] : [])].join('\n');
}

function toEntry(name: string, symbol: ts.Symbol): Entry {
  const declaration = symbol.declarations![0]!;
  const kind = ts.isClassDeclaration(declaration)
    ? 'Classes'
    : ts.isFunctionDeclaration(declaration)
      ? 'Functions'
      : ts.isVariableDeclaration(declaration)
        ? 'Constants'
        : 'Types';
  return { name, kind, symbol };
}

function isTopLevel(declaration: ts.Declaration): boolean {
  const owner = ts.isVariableDeclaration(declaration) ? declaration.parent.parent.parent : declaration.parent;
  return ts.isSourceFile(owner);
}

/** A declaration with the comments of its members, and without its own: that stands above. */
function declarationText(declaration: ts.Declaration): string {
  if (ts.isVariableDeclaration(declaration)) return `const ${declaration.getText()};`;
  const text = declaration.getText();
  if (!ts.isClassDeclaration(declaration) && !ts.isInterfaceDeclaration(declaration)) return withoutModifiers(text);
  const head = text.slice(0, declaration.members.pos - declaration.getStart());
  const members = publicMembers(declaration).map((member) => {
    const comment = ts
      .getJSDocCommentsAndTags(member)
      .filter((node) => ts.isJSDoc(node))
      .at(-1);
    return `${comment?.getText() ?? ''}\n${member.getText()}`;
  });
  return `${withoutModifiers(head)}\n${members.join('\n')}\n}`;
}

function withoutModifiers(text: string): string {
  return text.replace(/^(export |declare )+/, '');
}

function publicMembers(declaration: ts.ClassDeclaration | ts.InterfaceDeclaration): readonly ts.Node[] {
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
  return [...declaration.members].filter(
    (member) =>
      !(member.name !== undefined && ts.isPrivateIdentifier(member.name)) &&
      (ts.getCombinedModifierFlags(member) & hidden) === 0,
  );
}

/** What the page shows of a declaration. */
function shownParts(declaration: ts.Declaration): readonly ts.Node[] {
  if (!ts.isClassDeclaration(declaration) && !ts.isInterfaceDeclaration(declaration)) return [declaration];
  return [...(declaration.heritageClauses ?? []), ...(declaration.typeParameters ?? []), ...publicMembers(declaration)];
}

function tagLine(name: string, parts: readonly ts.SymbolDisplayPart[] | undefined): string {
  const text = ts.displayPartsToString(parts && [...parts]).trim();
  if (name === 'param') return text.replace(/^(\S+)\s+/, '`$1`: ');
  if (name === 'returns') return `Returns ${text}`;
  if (name === 'throws') return `Throws ${text.replace(/^(\w+Error)/, '`$1`')}`;
  return `${name}: ${text}`;
}
