import { miscounted, type Arm, type Report } from './killed.js';
import { ARROW, between, NOTHING, round, seconds, table, type Marks } from './table.js';

export const KILLED: Marks = {
  begin: '<!-- Killed under 100 callers, by npm run outages -- --callers -->',
  end: '<!-- End of those killed under callers -->',
};

const COLUMNS = [
  'client',
  'away',
  'calls',
  'answered',
  'failed',
  'of them rejected by us',
  'connects that failed',
  'opened',
  'hanging',
  'over 5 until',
  'longest wait',
  'first answer',
  'last failure',
  'unhandled',
  'counts',
] as const;

/** A line of the table by its columns, each of which says without → with. */
export type KilledLine = Readonly<Record<(typeof COLUMNS)[number], string>>;

/** @param reports of each arm that was run; makes a line of each with us, against the same run without */
export function killedLines(title: string, awayMs: number, reports: ReadonlyMap<Arm, Report>): KilledLine[] {
  const without = reports.get('without')!;
  return [...reports]
    .filter(([arm]) => arm !== 'without')
    .map(([arm, ours]) => {
      const pair = (show: (report: Report) => string | number) => `${show(without)}${ARROW}${show(ours)}`;
      const off = miscounted(ours);
      return {
        client: arm === 'throw' ? `${title}, \`throw\`` : title,
        away: seconds(awayMs),
        calls: pair(({ calls }) => calls),
        answered: pair(({ answered }) => answered),
        failed: pair(({ failed }) => failed),
        'of them rejected by us': String(ours.rejected),
        'connects that failed': pair(({ failedConnects }) => failedConnects),
        hanging: pair(({ hanging }) => (hanging < 0 ? NOTHING : hanging)),
        opened: after(ours.openedMs),
        'over 5 until': pair(({ hangingUntilMs }) => after(hangingUntilMs)),
        'longest wait': pair(({ longestMs }) => seconds(round(longestMs, 10))),
        'first answer': pair(({ firstAnswerMs }) => after(firstAnswerMs)),
        'last failure': pair(({ lastFailureMs }) => after(lastFailureMs)),
        unhandled: pair(({ unhandled }) => unhandled),
        counts: off === 0 ? 'exact' : `${off > 0 ? '+' : ''}${off}`,
      };
    });
}

function after(ms: number): string {
  return seconds(ms < 0 ? -1 : round(ms, 10));
}

export function killedTable(lines: readonly KilledLine[]): string {
  return table(
    COLUMNS,
    lines.map((line) => COLUMNS.map((column) => line[column])),
  );
}

/** The lines that stand between the marks. */
export function parseKilled(text: string): KilledLine[] {
  const rows = between(text, KILLED)
    .split('\n')
    .filter((line) => line.startsWith('|'));
  return rows.slice(2).map((row) => {
    const cells = row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    return Object.fromEntries(COLUMNS.map((column, at) => [column, cells[at]!])) as KilledLine;
  });
}
