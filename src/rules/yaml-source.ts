import * as yaml from 'yaml';
import type { SourcePosition } from '../breaker/options.js';
import { formatPath, type Finding, type Path } from './problem.js';
import { isSecretName, substitute } from './substitute.js';

/** A rules file as it was read: its value, what is wrong with its form, and where each part of it stands. */
export interface ParsedSource {
  readonly value: unknown;
  readonly problems: readonly PlacedFinding[];
  /** @param key whether the key is meant, not its value */
  locate(path: Path, key: boolean): SourcePosition;
  /** The text in the file, with its `${NAME}`, where variables were put in; by the path as it is written in code. */
  readonly written: ReadonlyMap<string, string>;
}

export interface PlacedFinding extends Finding {
  readonly at: SourcePosition;
}

// No rules file is nested deeper than five; beyond hundreds, a parser of any kind would use up the stack, and the process with it.
const MAX_DEPTH = 32;
// The library quotes what it does not understand, whatever its length.
const MAX_MESSAGE = 200;
// Aliases make much out of little.
const MAX_VALUES = 100_000;

interface Place {
  readonly key: yaml.Range | undefined;
  readonly value: yaml.Range | undefined;
}

/** Reads YAML, and JSON as the part of YAML that it is. Never throws. */
export function parseYaml(file: string, text: string, env: NodeJS.ProcessEnv): ParsedSource {
  const lines = new yaml.LineCounter();
  const problems: PlacedFinding[] = [];
  const places = new Map<string, Place>();
  const written = new Map<string, string>();

  function positionAt([start, end]: readonly [number, number, ...number[]]): SourcePosition {
    const { line, col } = lines.linePos(Math.min(start, text.length));
    const lineStart = lines.lineStarts[line - 1] ?? 0;
    const [lineText = ''] = text.slice(lineStart).split(/\r?\n/, 1);
    const length = Math.max(1, Math.min(end, lineStart + lineText.length) - start);
    return { file, line: Math.max(1, line), column: Math.max(1, col), length, text: lineText };
  }

  function report(
    range: readonly [number, number, ...number[]],
    finding: Omit<Finding, 'path'> & { path?: Path },
  ): void {
    problems.push({ path: [], ...finding, at: positionAt(range) });
  }

  function locate(path: Path, key: boolean): SourcePosition {
    // What is missing has no place of its own: then that of what it is missing from.
    for (let depth = path.length; depth >= 0; depth--) {
      const place = places.get(formatPath(path.slice(0, depth)));
      const range = place && ((key || depth < path.length ? place.key : place.value) ?? place.value ?? place.key);
      if (range !== undefined) return positionAt(range);
    }
    return positionAt([0, 1]);
  }

  const parsed: ParsedSource = { value: undefined, problems, locate, written };
  let document: yaml.Document.Parsed;
  try {
    const tokens = [...new yaml.Parser(lines.addNewLine).parse(text)];
    const tooDeep = findTooDeep(tokens);
    if (tooDeep !== undefined) {
      const consequence = `it is nested more than ${MAX_DEPTH} levels deep, which no rules file is`;
      report([tooDeep, tooDeep + 1], { value: undefined, consequence, allowed: 'Check its brackets and indentation.' });
      return parsed;
    }
    const composed = new yaml.Composer({ prettyErrors: false, uniqueKeys: false });
    const [first, ...others] = composed.compose(tokens, true, text.length);
    document = first!;
    if (others.length > 0) {
      const consequence = 'a second document starts here, and nothing would read it';
      report([others[0]!.range[0], others[0]!.range[0] + 3], {
        value: undefined,
        consequence,
        allowed: 'Keep one document in the file.',
      });
    }
  } catch (error) {
    report([0, 1], {
      value: undefined,
      consequence: `it cannot be read: ${(error as Error).message}`,
      allowed: 'Check its form.',
    });
    return parsed;
  }
  // What follows a first error of syntax mostly follows from it.
  const [syntax] = document.errors;
  if (syntax !== undefined) {
    report(syntax.pos, {
      value: undefined,
      ...describeSyntax(syntax.code, syntax.message, positionAt(syntax.pos).text),
    });
  }
  if (problems.length > 0) return parsed;

  let values = 0;
  const anchors = new Map<string, yaml.Node>();
  const expanding = new Set<yaml.Node>();

  function read(node: unknown, path: Path): unknown {
    if (++values > MAX_VALUES) throw new TooManyValues();
    if (yaml.isAlias(node)) return readAlias(node, path);
    if (!yaml.isScalar(node) && !yaml.isCollection(node)) return null;
    if (node.tag !== undefined && !CORE_TAGS.has(node.tag)) {
      const tag = findTag(text, node.range![0]);
      report([tag.start, tag.start + tag.text.length], {
        path,
        value: undefined,
        consequence: 'a "!" that is not in quotes starts a YAML tag, and the value would be lost',
        allowed: `Put it in quotes: "${tag.text}".`,
      });
      return undefined;
    }
    if (node.anchor !== undefined) anchors.set(node.anchor, node);
    if (yaml.isScalar(node)) return readScalar(node as yaml.Scalar.Parsed, path);
    expanding.add(node);
    const value = yaml.isMap(node)
      ? readMap(node as yaml.YAMLMap.Parsed, path)
      : node.items.map((item, index) => readAt(item, [...path, index], undefined));
    expanding.delete(node);
    return value;
  }

  /** What an alias stands for, found in the order of the text: the library would look through all of it for each one. */
  function readAlias({ source, range }: yaml.Alias, path: Path): unknown {
    const anchor = anchors.get(source);
    if (anchor !== undefined && !expanding.has(anchor)) return read(anchor, path);
    const meaning = anchor === undefined ? 'nothing' : 'what it is itself a part of';
    report(range!, {
      path,
      value: undefined,
      consequence: `the alias *${source} stands for ${meaning}`,
      allowed: 'Name an anchor that ends before it.',
    });
    return undefined;
  }

  function readAt(node: unknown, path: Path, key: yaml.Range | undefined): unknown {
    const range = yaml.isNode(node) ? (node.range ?? undefined) : undefined;
    places.set(formatPath(path), { key, value: range !== undefined && range[0] < range[1] ? range : undefined });
    return read(node, path);
  }

  function readMap(map: yaml.YAMLMap.Parsed, path: Path): unknown {
    // Without a prototype, so that a key like __proto__ is one like any other.
    const object = Object.create(null) as Record<string, unknown>;
    for (const { key, value } of map.items) {
      if (!yaml.isScalar(key)) {
        const consequence = 'a key is a word, and this is not a word';
        report(key.range, {
          path,
          value: undefined,
          consequence,
          allowed: 'Put values that contain "{" or "[" in quotes.',
        });
        continue;
      }
      const name = String(key.value);
      // Found here, since the library compares each key with every other one.
      if (name in object) {
        report(key.range, {
          path: [...path, name],
          value: undefined,
          consequence: 'this key stands twice in one place, and only one of the two would count',
          allowed: 'Delete one of them.',
        });
        continue;
      }
      object[name] = readAt(value, [...path, name], key.range ?? undefined);
    }
    return object;
  }

  function readScalar(scalar: yaml.Scalar.Parsed, path: Path): unknown {
    const plain = scalar.type === 'PLAIN';
    const source = plain ? scalar.source : scalar.value;
    if (typeof source !== 'string' || !source.includes('$')) return scalar.value;
    const result = substitute(source, env);
    const secret = path.join('.') === 'fleet.url' ? undefined : result.names.find(isSecretName);
    if (secret !== undefined) {
      report(scalar.range, {
        path,
        value: source,
        consequence: `the environment variable ${secret} holds a secret by its name, and would stand in names, metrics and messages`,
        allowed: 'Use a variable that holds none; only fleet.url may have one.',
      });
      return undefined;
    }
    if (result.invalid !== undefined) {
      report(scalar.range, {
        path,
        value: source,
        consequence: `"${result.invalid}" is no reference to an environment variable`,
        allowed: 'Write ${NAME} or ${NAME:-default}, and $$ for a dollar sign.',
      });
      return undefined;
    }
    if (result.unset !== undefined) {
      report(scalar.range, {
        path,
        value: source,
        consequence: `the environment variable ${result.unset} is not set, or empty`,
        allowed: `Set it, or give a default: \${${result.unset}:-default}.`,
      });
      return undefined;
    }
    if (result.names.length > 0) written.set(formatPath(path), source);
    // As OpenTelemetry has it: what is not in quotes gets its type from what was put in, and can never become a list or a map.
    return plain && result.changed ? resolvePlain(document, result.text) : result.text;
  }

  try {
    if (isEmpty(document)) return { ...parsed, value: null };
    const value = readAt(document.contents, [], undefined);
    return { ...parsed, value };
  } catch (error) {
    const consequence =
      error instanceof TooManyValues
        ? 'its aliases make more of it than any rules file has'
        : `it cannot be read: ${(error as Error).message}`;
    report([0, 1], { value: undefined, consequence, allowed: 'Write the values out.' });
    return parsed;
  }
}

class TooManyValues extends Error {}

function isEmpty({ contents }: yaml.Document.Parsed): boolean {
  return contents === null || (yaml.isScalar(contents) && contents.value === null && contents.tag === undefined);
}

// What YAML itself can read without knowing any application.
const CORE_TAGS = new Set(
  ['map', 'seq', 'str', 'int', 'float', 'bool', 'null'].map((tag) => `tag:yaml.org,2002:${tag}`),
);

/** The tag of a node that starts here: it stands before the node, or is all there is of it. */
function findTag(text: string, nodeStart: number): { start: number; text: string } {
  let start = Math.max(0, text.lastIndexOf('!', nodeStart));
  if (text[start - 1] === '!') start--;
  return { start, text: /^[^\s,[\]{}]*/.exec(text.slice(start))![0] };
}

function resolvePlain(document: yaml.Document.Parsed, text: string): unknown {
  for (const tag of document.schema.tags) {
    if (tag.default === true && 'test' in tag && tag.test?.test(text)) {
      const value = tag.resolve(text, () => {}, {});
      return yaml.isScalar(value) ? value.value : value;
    }
  }
  return text;
}

/** Where nesting gets too deep, found without recursion: composing would recurse. */
function findTooDeep(tokens: readonly yaml.CST.Token[]): number | undefined {
  const pending: { token: yaml.CST.Token; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { token, depth } = next;
    if (depth > MAX_DEPTH) return 'offset' in token ? token.offset : 0;
    if (token.type === 'document' && token.value) pending.push({ token: token.value, depth: depth + 1 });
    if ('items' in token) {
      for (const { key, value } of token.items as { key?: yaml.CST.Token | null; value?: yaml.CST.Token }[]) {
        if (key) pending.push({ token: key, depth: depth + 1 });
        if (value) pending.push({ token: value, depth: depth + 1 });
      }
    }
  }
  return undefined;
}

const SYNTAX: Readonly<Record<string, Pick<Finding, 'consequence' | 'allowed'>>> = {
  TAB_AS_INDENT: { consequence: 'YAML does not take tabs as indentation', allowed: 'Use spaces.' },
  MULTIPLE_DOCS: {
    consequence: 'a second document starts here, and nothing would read it',
    allowed: 'Keep one document in the file.',
  },
};

function describeSyntax(code: yaml.ErrorCode, message: string, line: string): Pick<Finding, 'consequence' | 'allowed'> {
  const known = SYNTAX[code];
  if (known !== undefined) return known;
  const text = message.slice(0, MAX_MESSAGE).replace(/\s+/g, ' ').trim();
  return {
    consequence: `this is no YAML: ${text.charAt(0).toLowerCase()}${text.slice(1)}`,
    allowed: /[[{].*\$\{/.test(line)
      ? 'Within { } and [ ], a ${...} must be in quotes; to put in a number, give its key a line of its own.'
      : 'Check brackets, quotes, colons and indentation.',
  };
}
