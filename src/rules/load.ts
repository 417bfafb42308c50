// Reads and checks the rules file.
import { CONFIG_VARIABLE, variables } from '../environment.js';
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, relative, resolve, sep } from 'node:path';
import { ConfigError } from '../breaker/errors.js';
import type { SourcePosition } from '../breaker/options.js';
import { withAnswerFiles } from './answer-files.js';
import { checkRules, presetNamesOf } from './check.js';
import { formatPath, problemOf, type Finding, type Path } from './problem.js';
import type { RulesConfig } from './rule.js';
import { withBases, type RulesSection } from './rule-set.js';
import { assertTogether } from './semantics.js';
import type * as YamlSource from './yaml-source.js';

// A thousand rules take a quarter of this. Reading as much as that keeps a reload below a second.
const MAX_BYTES = 256 * 1024;
const MAX_PROBLEMS = 100;
// A full disk takes whole blocks: what was written first still parses, with fewer rules than were meant.
const BLOCK_BYTES = 4_096;
const LINE_END = 10;

/** The file as people know it: from the working directory, where it is inside. */
export function displayName(path: string): string {
  let short: string;
  try {
    short = relative(process.cwd(), path);
  } catch {
    // The working directory is gone.
    return path;
  }
  return short === '' || short.startsWith(`..${sep}`) || short === '..' ? path : short;
}

/**
 * Reads and checks a rules file, and those that it extends.
 *
 * @param changed whether one has been written just now, and may have been cut off by a full disk
 * @param files gets the path of each file that is looked at, also where it cannot be read
 * @throws ConfigError with every problem that they have
 */
export function loadRulesFile(
  path: string,
  env = variables(),
  changed = false,
  files = new Set<string>(),
): RulesSection {
  const load = (path: string, above: readonly string[]): RulesSection => {
    files.add(path);
    const file = displayName(path);
    const chain = [...above, realPath(path)];
    const place: Place = { directory: dirname(path), chain, load: (base) => load(base, chain) };
    return { origin: file, ...parse(file, readText(path, file, changed), env, place) };
  };
  const section = load(resolve(path), []);
  assertTogether([section]);
  return section;
}

/** Where a file stands. */
interface Place {
  /** What its paths start from. */
  readonly directory: string;
  /** It, and the files that extend it. */
  readonly chain: readonly string[];
  /** @throws ConfigError */
  readonly load: (path: string) => RulesSection;
}

// A team, a department, a company.
const MAX_FILES = 8;

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/**
 * What a file extends.
 *
 * @param findings gets what is wrong with its `extends`
 * @returns nothing where it extends none, or none that there is; the error where there is one that cannot be taken
 */
function baseOf(value: unknown, place: Place, findings: Finding[]): RulesSection | ConfigError | undefined {
  const path = (value as RulesConfig | null | undefined)?.extends;
  if (typeof path !== 'string' || path === '') return undefined;
  const wrong = (consequence: string, allowed: string) => {
    findings.push({ path: ['extends'], value: path, consequence, allowed });
    return undefined;
  };
  if (/^[a-z][a-z\d+.-]+:\/\//i.test(path)) return wrong('it is a URL, and rules are read from files', 'Use a path.');
  const file = resolve(place.directory, path);
  const cycle = place.chain.indexOf(realPath(file));
  if (cycle >= 0) {
    const names = [...place.chain.slice(cycle), file].map(displayName).join(' → ');
    return wrong(`the file would extend itself: ${names}`, 'Leave one of them out.');
  }
  if (place.chain.length >= MAX_FILES) {
    return wrong(`${MAX_FILES} files extend one another already`, 'Join some of them.');
  }
  try {
    return place.load(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [problem] = error.problems;
    return problem?.at?.line === 0 ? wrong(`${displayName(file)}: ${problem.consequence}`, problem.allowed) : error;
  }
}

function readText(path: string, file: string, changed: boolean): string {
  function fail(consequence: string, allowed: string): never {
    const at = { file, line: 0, column: 0, length: 0, text: '' };
    throw new ConfigError(file, [{ path: '', value: undefined, consequence, allowed, at }]);
  }
  try {
    const stats = statSync(path);
    // A pipe could keep us waiting for ever.
    if (!stats.isFile())
      fail('it is no file, and no rules can be read from it', `Name a file, in ${CONFIG_VARIABLE} or by renaming.`);
    if (stats.size > MAX_BYTES) {
      fail(`it has ${stats.size} bytes, more than any rules file needs`, `Keep it below ${MAX_BYTES} bytes.`);
    }
    const bytes = readFileSync(path);
    if (changed && bytes.length > 0 && bytes.length % BLOCK_BYTES === 0 && bytes.at(-1) !== LINE_END) {
      fail(
        'it ends within a line after a whole number of disk blocks, as where a disk was full',
        'Write it again, with a line end at its end.',
      );
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      fail('there is no such file, and no rules would be in force', `Create it, or change ${CONFIG_VARIABLE}.`);
    }
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') fail('it is no text in UTF-8', 'Save it as UTF-8.');
    fail(
      `it cannot be read (${code ?? (error as Error).message}), and no rules would be in force`,
      'Check its permissions.',
    );
  }
}

/**
 * Checks the text of a rules file.
 *
 * @param file its name, for errors; one that ends in `.json` is read as JSON
 * @param directory that paths in it start from
 * @throws ConfigError with every problem that it has
 */
export function parseRules(file: string, text: string, env = variables(), directory = process.cwd()): RulesConfig {
  return parse(file, text, env, {
    directory,
    chain: [resolve(directory, file)],
    load: (path) => loadRulesFile(path, env),
  }).config;
}

function parse(
  file: string,
  text: string,
  env: NodeJS.ProcessEnv,
  place: Place,
): Pick<RulesSection, 'config' | 'base'> {
  const json = file.toLowerCase().endsWith('.json');
  const plain = json ? parsePlainJson(file, text) : undefined;
  const findings: Finding[] = [];
  if (plain !== undefined) {
    const base = baseOf(plain.value, place, findings);
    findings.push(...checkRules(plain.value, false, undefined, presetNamesOfBase(base)));
    const config = completed(plain.value, place.directory, findings);
    if (findings.length === 0 && !(base instanceof ConfigError)) return { config, ...(base && { base }) };
    findings.length = 0;
  }
  // Only here, since it takes longer to load than all the rest of us: JSON needs it to say where its problems are.
  const { parseYaml } = require('./yaml-source.js') as typeof YamlSource;
  const source = parseYaml(file, text, env);
  const base = baseOf(source.value, place, findings);
  findings.push(...checkSource(source, presetNamesOfBase(base)));
  const config = source.problems.length > 0 ? undefined : completed(source.value, place.directory, findings);
  const problems = [
    ...source.problems.map((finding) => ({ ...problemOf(finding), at: finding.at })),
    ...findings.map((finding) => ({
      ...problemOf(finding),
      at: source.locate(finding.path, finding.key ?? false),
    })),
  ];
  problems.sort((a, b) => a.at.line - b.at.line || a.at.column - b.at.column);
  if (problems.length > MAX_PROBLEMS) {
    const [first] = problems.splice(MAX_PROBLEMS);
    const consequence = `there are more problems from here on than the ${MAX_PROBLEMS} above`;
    problems.push({ path: '', value: undefined, consequence, allowed: 'Correct those first.', at: first!.at });
  }
  const ofBase = base instanceof ConfigError ? base.problems : [];
  if (problems.length + ofBase.length > 0) throw new ConfigError(file, [...problems, ...ofBase]);
  return { config: config!, ...(base && { base: base as RulesSection }) };
}

/** `null` where nobody knows them. */
function presetNamesOfBase(base: RulesSection | ConfigError | undefined): readonly string[] | null {
  if (base instanceof ConfigError) return null;
  return base === undefined ? [] : withBases([base]).flatMap(({ config }) => presetNamesOf(config));
}

/** Rules in which nothing is wrong by itself, with what they have put into files. @param findings gets what is wrong there */
function completed(value: unknown, directory: string, findings: Finding[]): RulesConfig {
  const config = value as RulesConfig;
  return findings.length > 0 ? config : withAnswerFiles(config, directory, findings);
}

function checkSource(
  { value, problems, written }: YamlSource.ParsedSource,
  presetNames: readonly string[] | null,
): Finding[] {
  if (value === null) {
    return [
      {
        path: [],
        value: undefined,
        consequence: 'the file is empty, and no rules would be in force',
        allowed: 'Write at least "rules: []", or delete it.',
      },
    ];
  }
  if (value === undefined) return [];
  // What could not be read is missing from the value: that it misfits there follows from it.
  const unread = problems.filter(({ path }) => path.length > 0).map(({ path }) => formatPath(path));
  return checkRules(value, false, written, presetNames)
    .filter(({ path }) => {
      const text = formatPath(path);
      return !unread.some((other) => other.startsWith(text) || text.startsWith(other));
    })
    .map((finding) => asWritten(finding, value, written));
}

/** What came from the environment is shown as it stands in the file: messages end up in logs. */
function asWritten(finding: Finding, root: unknown, written: ReadonlyMap<string, string>): Finding {
  if (written.size === 0) return finding;
  const shown = (value: unknown, path: Path): unknown => {
    const text = written.get(formatPath(path));
    if (text !== undefined) return text;
    if (Array.isArray(value)) return value.map((item, index) => shown(item, [...path, index]));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shown(item, [...path, key])]));
  };
  let { consequence, allowed } = finding;
  for (const [path, text] of written) {
    const value = valueAt(root, path);
    // One of a character or two would be found in words that are ours.
    if (value.length < 3) continue;
    consequence = consequence.replaceAll(value, () => text);
    allowed = allowed.replaceAll(value, () => text);
  }
  return { ...finding, value: shown(finding.value, finding.path), consequence, allowed };
}

/** The value at a path as `formatPath` writes it. */
function valueAt(root: unknown, path: string): string {
  let value = root;
  for (const [, key, index, quoted] of path.matchAll(/([\w$-]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/g)) {
    const step = key ?? index ?? (JSON.parse(quoted!) as string);
    value = (value as Record<string, unknown> | null | undefined)?.[step];
  }
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/**
 * JSON that needs no more than JSON.parse: no variables to put in, no key twice.
 *
 * @throws ConfigError where it is no JSON, although it might be YAML
 */
function parsePlainJson(file: string, text: string): { value: unknown } | undefined {
  let value: unknown;
  let properties = 0;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''), function (this: unknown, _key, property: unknown) {
      if (!Array.isArray(this)) properties++;
      return property;
    });
  } catch (error) {
    const message = (error as Error).message;
    const [reason] = message.split(/ in JSON| \(line/, 1);
    const offset = Number(/position (\d+)/.exec(message)?.[1] ?? text.length);
    const consequence = `this is no JSON: ${reason!.charAt(0).toLowerCase()}${reason!.slice(1)}`;
    const allowed = 'Check brackets, quotes and commas; comments are for YAML.';
    throw new ConfigError(file, [
      { path: '', value: undefined, consequence, allowed, at: positionIn(file, text, offset) },
    ]);
  }
  // Every string of the text is a key or a value, unless a key came twice. The root itself is counted as a property.
  const written = text.match(/"(?:[^"\\]|\\.)*"/g)?.length ?? 0;
  return text.includes('$') || written !== properties - 1 + countStrings(value) ? undefined : { value };
}

function countStrings(value: unknown): number {
  if (typeof value === 'string') return 1;
  if (value === null || typeof value !== 'object') return 0;
  return Object.values(value).reduce((sum: number, item) => sum + countStrings(item), 0);
}

function positionIn(file: string, text: string, offset: number): SourcePosition {
  const before = text.slice(0, offset).split('\n');
  const line = text.split('\n')[before.length - 1] ?? '';
  return { file, line: before.length, column: before.at(-1)!.length + 1, length: 1, text: line.replace(/\r$/, '') };
}
