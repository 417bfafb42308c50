import { asks } from '../sql-text.js';

// A comment is written out as what can stand in it: were it "anything up to an end", each further comment would double the
// ways to read them all, and the time that takes.
const LEADING_SPACE_AND_COMMENTS = String.raw`^(?:[\s;]|--[^\n]*\n|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)*`;

const CLEANS_UP = new RegExp(
  LEADING_SPACE_AND_COMMENTS +
    String.raw`(?:(?:commit|end|rollback|abort|savepoint|release|listen|unlisten|deallocate|discard|close|reset)\b` +
    String.raw`|select\s+(?:pg_catalog\.)?pg_advisory_unlock)`,
  'i',
);

const BEGINS = new RegExp(`${LEADING_SPACE_AND_COMMENTS}(?:begin|start\\s+transaction)\\b`, 'i');

const MAY_BEGIN = /\b(?:begin|start\s+transaction)\b/i;

/** The text of whatever pg takes for a statement: itself, a config, a `Query`, a cursor, a pg-query-stream. */
export function textOf(statement: unknown): unknown {
  if (typeof statement === 'string') return statement;
  const { text, cursor } = statement as { readonly text?: unknown; readonly cursor?: { readonly text?: unknown } };
  return text ?? cursor?.text;
}

/** Whether a statement ends something or gives something back: it is never rejected, however the circuit stands. */
export const cleansUp = asks(CLEANS_UP);

/** Whether a statement begins a transaction. */
export const begins = asks(BEGINS);

/** Whether a transaction may be open once the statement is done, as far as its text tells: several may stand in one. */
export const mayBegin = asks(MAY_BEGIN);
