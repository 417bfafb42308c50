import { CLIENTS } from './backends.js';
import type { Result } from './scenario.js';

const BEGIN = '<!-- faults: written by npm run chaos -->';
const END = '<!-- end of faults -->';

/** What was found, as the document has it between its marks. */
export function tableOf(results: readonly Result[], seed: number): string {
  const rows = results
    .toSorted((a, b) => order(results, a) - order(results, b))
    .map((result) => {
      const { fault, client, calls, success, failure, ignored, rejected, opened, recoveryMs } = result;
      const closed = opened === 0 ? 'never opened' : `${Math.round(recoveryMs)} ms`;
      return `| ${[fault, client, calls, success, failure, ignored, rejected, opened, closed].join(' | ')} |`;
    });
  return [
    `Seed ${seed}, Node ${process.versions.node}, \`openDuration\` 100 ms:`,
    '',
    '| a server that … | client | calls | success | failure | ignored | rejected | opened | closed after |',
    '| --- | --- | --: | --: | --: | --: | --: | --: | --: |',
    ...rows,
  ].join('\n');
}

/** By fault, so that clients can be compared; they were tried side by side. */
function order(results: readonly Result[], { fault }: Result): number {
  return results.findIndex((result) => result.fault === fault);
}

/** Which faults and clients the document has a row for: `flaps | pg`. */
export function rowsIn(document: string): string[] {
  const table = document.slice(document.indexOf(BEGIN), document.indexOf(END));
  return table.split('\n').flatMap((line) => {
    const cells = line.split('|').map((cell) => cell.trim());
    const isRow = cells.length === 11 && (CLIENTS as readonly (string | undefined)[]).includes(cells[2]);
    return isRow ? [`${cells[1]} | ${cells[2]}`] : [];
  });
}
