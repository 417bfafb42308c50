import { asks } from '../sql-text.js';

// A comment is written out as what can stand in it, so that reading one takes no longer than its length.
const LEADING_SPACE_AND_COMMENTS = String.raw`^(?:[\s;(]|(?:--\s|#)[^\n]*\n|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)*`;

const CLEANS_UP = new RegExp(
  LEADING_SPACE_AND_COMMENTS +
    String.raw`(?:(?:commit|rollback|savepoint|release|unlock|deallocate|drop\s+prepare|close|kill)\b` +
    String.raw`|(?:select|do)\s+release_(?:lock|all_locks)\b)`,
  'i',
);

const BEGINS = new RegExp(
  `${LEADING_SPACE_AND_COMMENTS}(?:begin|start\\s+transaction|xa\\s+(?:start|begin)|set\\s+(?:session\\s+)?(?:@@)?autocommit\\s*=\\s*(?:0|off))\\b`,
  'i',
);

const MAY_BEGIN = /\b(?:begin|start\s+transaction|xa\s+start|autocommit)\b/i;

/** Whether a statement ends something or gives something back: it is never rejected, however the circuit stands. */
export const cleansUp = asks(CLEANS_UP);

/** Whether a statement begins a transaction. */
export const begins = asks(BEGINS);

/** Whether a transaction may be open once the statement is done, as far as its text tells: several may stand in one. */
export const mayBegin = asks(MAY_BEGIN);
