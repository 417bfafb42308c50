// Where the rules file is. Apart from what reads and checks it, which a service without one never loads.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Where rules are looked for, in the working directory and nowhere else: the first that is there counts. */
export const RULES_FILES = ['otel-breaker.yaml', 'otel-breaker.yml', 'otel-breaker.json'] as const;

/**
 * The path of the rules file.
 *
 * @param configured that of the environment; it need not exist
 * @returns `undefined` where no file is configured and none is found
 */
export function findRulesFile(configured: string | undefined, directory = process.cwd()): string | undefined {
  if (configured !== undefined) return resolve(directory, configured);
  return RULES_FILES.map((name) => join(directory, name)).find((path) => existsSync(path));
}
