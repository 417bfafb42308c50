import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { ROOT } from './child.js';

/**
 * A file of this package that tests write: with UPDATE=1 in the environment it is written anew.
 *
 * @param path from the root of this package
 * @param make the file as it should be, from what it is
 * @returns what it is and what it should be
 */
export async function golden(path: string, make: (text: string) => string): Promise<{ is: string; should: string }> {
  const file = join(ROOT, path);
  const text = await readFile(file, 'utf8').catch(() => '');
  const should = await format(make(text), { ...(await resolveConfig(file)), filepath: file });
  if (process.env.UPDATE !== '1') return { is: text, should };
  await writeFile(file, should);
  return { is: should, should };
}

/**
 * A document with another text between two of its marks: `<!-- soak: … -->` and `<!-- end of soak -->`.
 *
 * @throws where it has no place for that
 */
export function between(document: string, name: string, text: string): string {
  const [begin] = new RegExp(`<!-- ${name}: .* -->`).exec(document) ?? [];
  const end = document.indexOf(`<!-- end of ${name} -->`);
  if (begin === undefined || end < 0) throw new Error(`The document has no place for ${name}`);
  const before = document.slice(0, document.indexOf(begin) + begin.length);
  return `${before}\n\n${text}\n\n${document.slice(end)}`;
}
