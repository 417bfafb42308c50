import { readFileSync, statSync } from 'node:fs';
import { extname, resolve } from 'node:path';
import { MAX_BODY_BYTES, type RespondWith } from '../breaker/respond-with.js';
import type { Finding, Path, PatternProblem } from './problem.js';
import type { RulesConfig } from './rule.js';

const TYPES: Readonly<Record<string, string>> = {
  '.json': 'application/json',
  '.html': 'text/html; charset=utf-8',
  '.txt': 'text/plain; charset=utf-8',
  '.xml': 'application/xml',
};

/**
 * The same rules with the files in the place of which their answers have a name: read once, so that a file that goes later
 * changes nothing.
 *
 * @param directory that their paths start from
 * @param findings gets what is wrong with them
 */
export function withAnswerFiles(config: RulesConfig, directory: string, findings: Finding[]): RulesConfig {
  function answered<T extends { readonly respondWith?: RespondWith | undefined }>(options: T, path: Path): T {
    const { respondWith } = options;
    if (respondWith?.file === undefined) return options;
    const body = readAnswer(resolve(directory, respondWith.file));
    if (!(body instanceof Uint8Array)) {
      findings.push({ path: [...path, 'respondWith', 'file'], value: respondWith.file, ...body });
      return options;
    }
    const { file, headers, ...answer } = respondWith;
    const isTyped = Object.keys(headers ?? {}).some((name) => name.toLowerCase() === 'content-type');
    const type = isTyped ? undefined : TYPES[extname(file).toLowerCase()];
    return {
      ...options,
      respondWith: { ...answer, headers: { ...(type !== undefined && { 'content-type': type }), ...headers }, body },
    };
  }
  const { defaults, presets, rules } = config;
  return {
    ...config,
    ...(defaults && { defaults: answered(defaults, ['defaults']) }),
    ...(presets && {
      presets: Object.fromEntries(
        Object.entries(presets).map(([name, preset]) => [name, answered(preset, ['presets', name])]),
      ),
    }),
    ...(rules && { rules: rules.map((rule, index) => answered(rule, ['rules', index])) }),
  };
}

function readAnswer(path: string): Uint8Array | PatternProblem {
  try {
    const stats = statSync(path);
    // A pipe could keep us waiting for ever.
    if (!stats.isFile()) return { consequence: `${path} is no file`, allowed: 'Name a file.' };
    if (stats.size > MAX_BODY_BYTES) {
      return {
        consequence: `${path} has ${stats.size} bytes, which each rejected call would get`,
        allowed: `Keep it to ${MAX_BODY_BYTES} bytes.`,
      };
    }
    return readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const isMissing = code === 'ENOENT' || code === 'ENOTDIR';
    return {
      consequence: isMissing ? `there is no ${path}` : `${path} cannot be read (${String(code)})`,
      allowed: isMissing ? 'Create it, or name another file.' : 'Check its permissions.',
    };
  }
}
