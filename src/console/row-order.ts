// The orders of the list of breakers.
import { callsPerSecond, notServed, type Row } from './live-store.js';

/** What the list can be sorted by; each but the name begins with the largest. */
export const ORDERS = ['state', 'name', 'unserved', 'calls', 'rejected', 'p95'] as const;
export type Order = (typeof ORDERS)[number];

export const GROUPS = ['none', 'system', 'target', 'worker'] as const;
export type Grouping = (typeof GROUPS)[number];

const SEVERITY = { open: 0, half_open: 1, closed: 2 } as const;

const NUMBERS: Readonly<Record<Exclude<Order, 'name'>, (row: Row, now: number) => number>> = {
  state: ({ view }) => -SEVERITY[view.state],
  unserved: notServed,
  calls: callsPerSecond,
  rejected: ({ view }) => view.calls.rejected,
  p95: ({ view }) => view.latency?.p95 ?? -1,
};

/** Among equals by name, so that nothing moves while one reads. */
export function sortRows(rows: Iterable<Row>, order: Order, now: number): Row[] {
  const number = order === 'name' ? () => 0 : NUMBERS[order];
  const sorted = Array.from(rows, (row) => ({ row, number: number(row, now) }));
  sorted.sort(
    (a, b) =>
      b.number - a.number ||
      compare(a.row.view.name, b.row.view.name) ||
      compare(a.row.view.worker ?? '', b.row.view.worker ?? ''),
  );
  return sorted.map(({ row }) => row);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export interface Group {
  /** Empty where the list is not grouped. */
  readonly title: string;
  readonly rows: readonly Row[];
}

/** In the order of their first rows. */
export function groupRows(rows: readonly Row[], by: Grouping): Group[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const title = titleOf(row, by);
    const group = groups.get(title);
    if (group === undefined) groups.set(title, [row]);
    else group.push(row);
  }
  return Array.from(groups, ([title, members]) => ({ title, rows: members }));
}

function titleOf({ view: { name, worker, labels } }: Row, by: Grouping): string {
  switch (by) {
    case 'none':
      return '';
    case 'system':
      return String(labels.system ?? 'made in code');
    case 'target':
      return name;
    case 'worker':
      return worker === null ? 'this process' : `worker ${worker}`;
  }
}
