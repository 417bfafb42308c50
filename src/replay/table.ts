import { leftOutInWords } from './make-report.js';
import type { Episode, ReplayReport, RulesReport, Suggestion, Suggestions } from './report.js';
import { count, length, moment, numbersOf, plural, timeOfDay } from './words.js';

const MAX_BREAKERS = 40;
const MAX_EPISODES = 20;
const MAX_NAME = 48;

type Row = readonly string[];

/** A replay as people read it in a terminal. */
export function formatReport(report: ReplayReport): string {
  const [rules] = report.rules;
  if (rules === undefined) return '';
  return [
    head(report),
    breakersTable(report),
    ...(rules.breakers.some(({ opened }) => opened > 0) ? [openings(report, rules)] : []),
    ...(report.suggestions === null ? [] : [suggestionsTable(report.suggestions, share(report))]),
    notes(report),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
    .concat('\n');
}

function share({ sampling }: ReplayReport): number {
  return sampling?.share ?? 1;
}

function head({ files, spans, calls, fromMs, toMs, rules, sampling }: ReplayReport): string {
  const names = rules.map(({ name }) => name);
  const rows: Row[] = [
    ['replayed', `${files.join(', ')}: ${plural(spans, 'span')}, ${plural(calls, 'call')}`],
    ...(calls === 0 ? [] : [['from', `${moment(fromMs)} to ${moment(toMs)} UTC (${length(toMs - fromMs)})`]]),
    ['rules', names.length > 1 ? `${names[0]!} (against ${names[1]!})` : names[0]!],
  ];
  if (sampling !== null) {
    const oneIn = Number((1 / sampling.share).toPrecision(3));
    rows.push([
      'sampled',
      `1 call in ${oneIn} was recorded (${sampling.source}): counts are estimates (≈), and so are streaks and rates: ` +
        'circuits see fewer calls than they would have, and open later or not at all',
    ]);
  }
  return table(rows, []);
}

function breakersTable(report: ReplayReport): string {
  const [first, second] = report.rules as readonly [RulesReport, RulesReport?];
  const others = new Map(second?.breakers.map((breaker) => [breaker.name, breaker]));
  const kept = share(report);
  const rows: Row[] = [];
  for (const breaker of first.breakers.slice(0, MAX_BREAKERS)) {
    rows.push([shortened(breaker.name), ...(second ? [first.name] : []), ...numbersOf(breaker, kept)]);
    if (second === undefined) continue;
    const other = others.get(breaker.name);
    rows.push(['', second.name, ...(other === undefined ? ['no breaker of this name'] : numbersOf(other, kept))]);
  }
  if (rows.length === 0) return 'No call went to a target with a breaker.';
  const titles = ['breaker', ...(second ? ['rules'] : [])];
  const more = first.breakers.length - MAX_BREAKERS;
  const text = table(
    [[...titles, 'calls', 'failed', 'opened', 'open for', 'saved', 'time saved', 'price', 'noticed after'], ...rows],
    [2, 3, 4, 5, 6, 7, 8, 9].map((column) => column - (second ? 0 : 1)),
  );
  const legend = 'saved: calls rejected that had failed; price: calls rejected that had succeeded';
  return `${text}\n${more > 0 ? `… and ${plural(more, 'breaker')} more (--json has all)\n` : ''}${legend}`;
}

function openings(report: ReplayReport, { name, breakers }: RulesReport): string {
  const lines = [report.rules.length > 1 ? `openings by ${name}` : 'openings'];
  const day = (ms: number) => moment(ms).slice(0, 10);
  const sameDay = day(report.fromMs) === day(report.toMs);
  for (const breaker of breakers.filter(({ opened }) => opened > 0).slice(0, MAX_BREAKERS)) {
    lines.push(`  ${breaker.name}`);
    for (const episode of breaker.episodes.slice(0, MAX_EPISODES)) {
      lines.push(`    ${opening(episode, sameDay ? timeOfDay : moment, share(report))}`);
    }
    const more = breaker.opened - MAX_EPISODES;
    if (more > 0) lines.push(`    … and ${more.toLocaleString('en')} more`);
  }
  return lines.join('\n');
}

function opening(episode: Episode, at: (ms: number) => string, kept: number): string {
  const { openedAt, closedAt, reason, noticedAfterMs, reopened, rejected } = episode;
  const until = closedAt === null ? 'to the end' : `to ${at(closedAt)} (${length(closedAt - openedAt)})`;
  const parts = [
    `${at(openedAt)} ${until}: ${reason}, ${length(noticedAfterMs)} after the first`,
    ...(reopened > 0 ? [`${plural(reopened, 'probe')} failed`] : []),
    `rejected ${count(rejected.failed, kept)} that had failed, ${count(rejected.succeeded, kept)} that had succeeded`,
  ];
  return parts.join('; ');
}

function suggestionsTable(suggestions: readonly Suggestions[], kept: number): string {
  const rows = suggestions
    .filter(({ best }) => best.length > 1 || best[0]?.options !== null)
    .flatMap(({ name, best }) =>
      best.map((one, index) => suggestionRow(index === 0 ? shortened(name) : '', one, kept)),
    );
  if (rows.length === 0) return 'suggestions\nno tried setting beats the rules as they are';
  const titles = ['breaker', 'failureThreshold', 'failureRateThreshold', 'minimumCalls', 'openDuration'];
  return `suggestions: no other tried setting saves more for the same price\n${table(
    [[...titles, 'opened', 'saved', 'price'], ...rows],
    [1, 2, 3, 4, 5, 6, 7],
  )}`;
}

function suggestionRow(name: string, { options, opened, saved, price }: Suggestion, kept: number): Row {
  const values =
    options === null
      ? ['as it is', '', '', '']
      : [
          String(options.failureThreshold),
          String(options.failureRateThreshold),
          String(options.minimumCalls),
          `${options.openDuration / 1_000}s`,
        ];
  return [name, ...values, String(opened), count(saved, kept), count(price, kept)];
}

function notes({ leftOut, rules, spans, calls }: ReplayReport): string {
  const lines = leftOutInWords(leftOut);
  for (const { name, unguarded, panics } of rules) {
    if (unguarded > 0) lines.push(`${unguarded.toLocaleString('en')} calls to targets in mode off (${name})`);
    if (panics > 0) lines.push(`${plural(panics, 'panic')}, in which nothing is rejected (${name})`);
  }
  if (calls === 0 && spans > 0) lines.push('no span of kind CLIENT with the attributes of a known system');
  return lines.length === 0 ? '' : `left out or not guarded\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

/** The end of a name tells targets apart no less than its beginning. */
function shortened(name: string): string {
  // What came from a file must not write to the terminal.
  const safe = name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?');
  return safe.length <= MAX_NAME ? safe : `${safe.slice(0, MAX_NAME / 2)}…${safe.slice(1 - MAX_NAME / 2)}`;
}

/** @param right the columns that hold numbers */
function table(rows: readonly Row[], right: readonly number[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  return rows
    .map((row) =>
      row
        .map((cell, column) => (right.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
