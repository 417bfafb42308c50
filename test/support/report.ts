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
 * @param findings or what makes them of the report as it is
 */
export async function writeFindings(name: string, findings: string | ((report: string) => string)): Promise<void> {
  const report = readFileSync(REPORT, 'utf8');
  const whole = between(report, name, typeof findings === 'string' ? findings : findings(report));
  writeFileSync(REPORT, await format(whole, { ...(await resolveConfig(REPORT)), parser: 'markdown' }));
}
