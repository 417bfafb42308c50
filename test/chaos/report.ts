import { CLIENTS, type ClientName } from './backends.js';
import { FAULTS } from './faults.js';
import type { Result } from './scenario.js';

const BEGIN = '<!-- faults: written by npm run chaos -->';
const END = '<!-- end of faults -->';
const COLUMNS = [
  'a server that …',
  'client',
  ...['calls', 'success', 'failure', 'ignored', 'rejected', 'opened', 'closed after'],
];

type Row = readonly (string | number)[];

/**
 * What was found, as the document has it between its marks.
 *
 * @param earlier a document whose rows of other clients stay, where only some clients were tried
 */
export function tableOf(results: readonly Result[], seed: number, earlier = ''): string {
  const found = results.map((result): Row => {
    const { fault, client, calls, success, failure, ignored, rejected, opened, recoveryMs } = result;
    const closed = opened === 0 ? 'never opened' : `${Math.round(recoveryMs)} ms`;
    return [fault, client, calls, success, failure, ignored, rejected, opened, closed];
  });
  const clients = new Set(results.map(({ client }) => client));
  const rows = [...found, ...rowsOf(earlier).filter(([, client]) => !clients.has(client as ClientName))];
  // By fault, so that clients can be compared; they were tried side by side.
  const place = ([fault, client]: Row) =>
    FAULTS.findIndex(({ name }) => name === fault) * CLIENTS.length + CLIENTS.indexOf(client as ClientName);
  return [
    `${rows.length === found.length ? '' : headOf(earlier)}${headFor(seed, clients)}:`,
    '',
    `| ${COLUMNS.join(' | ')} |`,
    '| --- | --- | --: | --: | --: | --: | --: | --: | --: |',
    ...rows.toSorted((a, b) => place(a) - place(b)).map((cells) => `| ${cells.join(' | ')} |`),
  ].join('\n');
}

function headFor(seed: number, clients: ReadonlySet<ClientName>): string {
  const circumstances = `seed ${seed}, Node ${process.versions.node}`;
  if (clients.size < CLIENTS.length) return `${[...clients].join(', ')} with ${circumstances}`;
  return `S${circumstances.slice(1)}, \`openDuration\` 100 ms`;
}

/** What the clients were tried with whose rows stay. */
function headOf(document: string): string {
  const [, head] = /^(.*Seed \d+.*):$/m.exec(findingsIn(document)) ?? [];
  return head === undefined ? '' : `${head}; `;
}

/** Which faults and clients the document has a row for: `flaps | pg`. */
export function rowsIn(document: string): string[] {
  return rowsOf(document).map(([fault, client]) => `${fault} | ${client}`);
}

function rowsOf(document: string): Row[] {
  return findingsIn(document)
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells.length === COLUMNS.length + 2 && CLIENTS.includes(cells[2] as ClientName))
    .map((cells) => cells.slice(1, -1));
}

function findingsIn(document: string): string {
  return document.slice(document.indexOf(BEGIN), document.indexOf(END));
}
