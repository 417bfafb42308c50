// A mistake in a configuration, and the place where it stands.
import type { ConfigProblem } from '../breaker/options.js';

export type Path = readonly (string | number)[];

/** A problem before it is known where in a file it stands. */
export interface Finding {
  readonly path: Path;
  readonly value: unknown;
  readonly consequence: string;
  readonly allowed: string;
  /** Whether the key is at fault rather than its value. */
  readonly key?: boolean;
}

/** What is wrong with a pattern. */
export type PatternProblem = Pick<Finding, 'consequence' | 'allowed'>;

/** `rules[2].match.host`, as one would write it in code. */
export function formatPath(path: Path): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else if (/^[\w$-]+$/.test(key)) text += text === '' ? key : `.${key}`;
    else text += `[${JSON.stringify(key)}]`;
  }
  return text;
}

export function problemOf({ path, value, consequence, allowed }: Finding): ConfigProblem {
  return { path: formatPath(path), value, consequence, allowed };
}
