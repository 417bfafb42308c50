import type { Pattern, Seen } from './outage.js';

/** What one way of calling came to in one outage. */
export interface Line {
  readonly title: string;
  readonly pattern: Pattern;
  /** 0 for a tight loop. */
  readonly everyMs: number;
  readonly awayMs: number;
  readonly without: Shown;
  readonly with: Shown;
}

/** What the tables show of what a caller saw; -1 where there is nothing to show. */
export interface Shown {
  readonly alive: boolean;
  readonly failed: number;
  readonly longestMs: number;
  readonly lastFailureMs: number;
  readonly blockedMs: number;
  /** Per cent of a core. */
  readonly cpu: number;
}

const COLUMNS = [
  'client',
  'calls',
  'away',
  'failed',
  'longest wait',
  'last failure after the return',
  'loop blocked',
  'CPU',
] as const;
export const ARROW = ' → ';
const DEAD = 'died';
export const NOTHING = '–';
/** Longer ones are told apart: openings grow with the outage. */
const SHORT_OUTAGE_MS = 3_000;

export function shown(seen: Seen, pattern: Pattern): Shown {
  return {
    alive: seen.alive,
    failed: seen.failed,
    // Nobody waits for these, and nobody hears when they fail.
    longestMs: pattern === 'fire-and-forget' ? -1 : round(seen.longestMs, 10),
    lastFailureMs: pattern === 'fire-and-forget' ? -1 : round(seen.lastFailureMs, 10),
    blockedMs: seen.blockedMs,
    cpu: Math.round(100 * seen.cpu),
  };
}

/** The table of all runs. */
export function details(lines: readonly Line[]): string {
  return table(
    COLUMNS,
    lines.map((line) => {
      const pair = (show: (shown: Shown) => string) => show(line.without) + ARROW + show(line.with);
      return [
        line.title,
        line.everyMs === 0 ? line.pattern : `${line.pattern}, every ${line.everyMs} ms`,
        seconds(line.awayMs),
        pair(({ alive, failed }) => (alive ? String(failed) : DEAD)),
        pair(({ longestMs }) => seconds(longestMs)),
        pair(({ lastFailureMs }) => seconds(lastFailureMs)),
        pair(({ blockedMs }) => `${blockedMs} ms`),
        pair(({ cpu }) => `${cpu} %`),
      ];
    }),
  );
}

/** One line for each client: the worst of its runs. */
export function summary(lines: readonly Line[]): string {
  const titles = [...new Set(lines.map(({ title }) => title))];
  return table(
    [
      'client',
      'failed, up to 3 s away',
      'last failure after the return, at most',
      'loop blocked, at most',
      'CPU of a tight loop, at most',
      'failed, 10 s away',
      'last failure after the return',
      'processes that died',
    ],
    titles.map((title) => {
      const all = lines.filter((line) => line.title === title);
      const short = all.filter(({ awayMs }) => awayMs <= SHORT_OUTAGE_MS);
      const long = all.filter(({ awayMs }) => awayMs > SHORT_OUTAGE_MS);
      const tight = short.filter(({ pattern }) => pattern === 'tight loop');
      const paced = (of: readonly Line[]) => of.filter(({ pattern }) => pattern !== 'tight loop');
      const pair = (of: readonly Line[], show: (shown: readonly Shown[]) => string) =>
        of.length === 0 ? NOTHING : show(of.map((line) => line.without)) + ARROW + show(of.map((line) => line.with));
      const most = (of: readonly Shown[], key: 'lastFailureMs' | 'blockedMs' | 'cpu') =>
        Math.max(...of.map((it) => it[key]));
      const failed = (of: readonly Shown[]) => String(of.reduce((sum, it) => sum + it.failed, 0));
      const last = (of: readonly Shown[]) => seconds(most(of, 'lastFailureMs'));
      return [
        title,
        pair(paced(short), failed),
        pair(short, last),
        pair(short, (of) => `${most(of, 'blockedMs')} ms`),
        pair(tight, (of) => `${most(of, 'cpu')} %`),
        pair(paced(long), failed),
        pair(long, last),
        pair(all, (of) => String(of.filter(({ alive }) => !alive).length)),
      ];
    }),
  );
}

/** What stands before and after a table of `docs/outages.md`. */
export interface Marks {
  readonly begin: string;
  readonly end: string;
}

export const SUMMARY: Marks = {
  begin: '<!-- The summary, by npm run outages -->',
  end: '<!-- End of the summary -->',
};
export const DETAILS: Marks = { begin: '<!-- All runs, by npm run outages -->', end: '<!-- End of all runs -->' };

/** A text with another table between the marks. */
export function replaced(text: string, marks: Marks, table: string): string {
  const { begin, end } = marks;
  return text.replace(`${begin}${between(text, marks)}${end}`, () => `${begin}\n\n${table}\n\n${end}`);
}

export function between(text: string, { begin, end }: Marks): string {
  const [, after] = text.split(begin);
  if (!after?.includes(end)) throw new Error(`The document lacks ${begin} or ${end}`);
  return after.split(end)[0]!;
}

/** The runs that a table of `details` shows between the marks. */
export function parse(text: string, marks: Marks): Line[] {
  const rows = between(text, marks)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) => {
    const [title, calls, away, failed, longest, last, blocked, cpu] = row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()) as [string, string, string, string, string, string, string, string];
    const everyMs = /every (\d+) ms/.exec(calls)?.[1];
    const side = (index: 0 | 1): Shown => {
      const part = (cell: string) => cell.split(ARROW)[index]!;
      return {
        alive: part(failed) !== DEAD,
        failed: Number(part(failed)) || 0,
        longestMs: milliseconds(part(longest)),
        lastFailureMs: milliseconds(part(last)),
        blockedMs: parseFloat(part(blocked)),
        cpu: parseFloat(part(cpu)),
      };
    };
    return {
      title,
      pattern: calls.split(',')[0] as Pattern,
      everyMs: Number(everyMs ?? 0),
      awayMs: milliseconds(away),
      without: side(0),
      with: side(1),
    };
  });
}

export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map((_, at) => (at < 2 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}

export function seconds(ms: number): string {
  return ms < 0 ? NOTHING : `${ms / 1_000} s`;
}

function milliseconds(text: string): number {
  return text === NOTHING ? -1 : Math.round(parseFloat(text) * 1_000);
}

export function round(value: number, to: number): number {
  return Math.round(value / to) * to;
}
