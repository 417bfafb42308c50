import { HAPPENINGS, LIBRARIES, type Happening } from './matrix.js';

// "opens" is each call a failure, and so many of them the circuit open.
const WORDS: Readonly<Record<string, string>> = { 'failure, opens': 'opens' };

/** The table of `docs/reliability.md`, of which the tests make one as well. @param verdictOf nothing where something cannot happen */
export function tableOf(verdictOf: (title: string, happening: Happening) => string | undefined): string {
  const happenings = Object.entries(HAPPENINGS) as [Happening, string][];
  const rows = LIBRARIES.flatMap(({ ways }) =>
    ways.map(({ title }) => [
      title,
      ...happenings.map(([happening]) => {
        const verdict = verdictOf(title, happening) ?? '–';
        return WORDS[verdict] ?? verdict;
      }),
    ]),
  );
  const head = ['calls by', ...happenings.map(([, words]) => words)];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
