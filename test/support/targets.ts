import { parseTarget, type Target } from '../../src/target.js';

/** The target of a URL such as `https://api.example.com`, `redis://cache:6379` or `postgresql://db/orders`. */
export function target(url: string): Target {
  const parsed = parseTarget(url);
  if (parsed === undefined) throw new Error(`"${url}" is no target`);
  return parsed;
}
