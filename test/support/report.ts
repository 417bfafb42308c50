import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { ROOT } from './child.js';
import { between } from './golden.js';

const REPORT = join(ROOT, 'docs/reliability.md');

/**
 * Puts what a suite has found between its marks in the report on reliability, in the place of the last findings.
 *
 * @param name of the suite, as in its marks: `<!-- soak: … -->` to `<!-- end of soak -->`
 */
export async function writeFindings(name: string, text: string): Promise<void> {
  const whole = between(readFileSync(REPORT, 'utf8'), name, text);
  writeFileSync(REPORT, await format(whole, { ...(await resolveConfig(REPORT)), parser: 'markdown' }));
}
