import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { ROOT } from './child.js';

const REPORT = join(ROOT, 'docs/reliability.md');

/**
 * Puts what a suite has found between its marks in the report on reliability, in the place of the last findings.
 *
 * @param name of the suite, as in its marks: `<!-- soak: … -->` to `<!-- end of soak -->`
 */
export async function writeFindings(name: string, text: string): Promise<void> {
  const document = readFileSync(REPORT, 'utf8');
  const [begin] = new RegExp(`<!-- ${name}: .* -->`).exec(document) ?? [];
  const end = document.indexOf(`<!-- end of ${name} -->`);
  if (begin === undefined || end < 0) throw new Error(`${REPORT} has no place for ${name}`);
  const before = document.slice(0, document.indexOf(begin) + begin.length);
  const whole = `${before}\n\n${text}\n\n${document.slice(end)}`;
  writeFileSync(REPORT, await format(whole, { ...(await resolveConfig(REPORT)), parser: 'markdown' }));
}
