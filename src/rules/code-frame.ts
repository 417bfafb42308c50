import { describeProblem, type ConfigError } from '../breaker/errors.js';
import type { ConfigProblem } from '../breaker/options.js';

// Longer lines, as in minified JSON, are cut around what is meant.
const MAX_LINE = 120;

/** All problems of a configuration, drawn for people: each with the line that it stands in. */
export function drawProblems(error: ConfigError): string {
  const drawn = error.problems.map((problem) => drawProblem(problem) ?? `error: ${describeProblem(problem)}\n`);
  // An error that stands nowhere in a file has to say what it is about.
  if (error.problems.every(({ at }) => at === undefined))
    return `error: ${error.message.replaceAll('\n', '\nerror: ')}\n`;
  const count = error.problems.length;
  return `${drawn.join('\n')}\n${count} problem${count === 1 ? '' : 's'} found\n`;
}

function drawProblem({ at, ...problem }: ConfigProblem): string | undefined {
  if (at === undefined) return undefined;
  const { file, line, column, length, text } = at;
  const title = `error: ${problem.path === '' ? (line === 0 ? 'rules file' : 'syntax') : problem.path}`;
  if (line === 0) return `${title}\n  --> ${file}\n  = ${problem.consequence}\n  = help: ${problem.allowed}\n`;
  const start = column - 1 > MAX_LINE / 2 ? column - 1 - MAX_LINE / 2 : 0;
  const shown = text.slice(start, start + MAX_LINE).replaceAll('\t', ' ');
  const margin = ' '.repeat(String(line).length);
  const carets = '^'.repeat(Math.max(1, Math.min(length, start + MAX_LINE - (column - 1))));
  return [
    title,
    `${margin}--> ${file}:${line}:${column}`,
    `${margin} |`,
    `${line} | ${shown}`,
    `${margin} | ${' '.repeat(column - 1 - start)}${carets} ${problem.consequence}`,
    `${margin} = help: ${problem.allowed}`,
    '',
  ].join('\n');
}
