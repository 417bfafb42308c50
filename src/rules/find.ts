// Where the rules file is. Apart from what reads and checks it, which a service without one never loads.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** Where rules are looked for, in the working directory and nowhere else: the first that is there counts. */
export const RULES_FILES = ['otel-breaker.yaml', 'otel-breaker.yml', 'otel-breaker.json'] as const;

/**
 * The path of the rules file.
 *
 * @param configured that of the environment; it need not exist
 * @returns `undefined` where no file is configured and none is found
 */
export function findRulesFile(configured: string | undefined): string | undefined {
  if (configured !== undefined) return resolve(configured);
  const name = RULES_FILES.find(isThere);
  return name === undefined ? undefined : resolve(name);
}

/** Not where the working directory is gone, nor where Node's permission model lets nobody look. */
function isThere(name: string): boolean {
  try {
    return existsSync(name);
  } catch {
    return false;
  }
}
