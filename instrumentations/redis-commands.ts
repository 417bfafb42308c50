// What is known of the commands of Redis, whichever client sends them.

/** Takes long by design: always, or with option BLOCK. */
export type LongKind = 'blocking' | 'block-option';

const LONG: Readonly<Record<LongKind, string>> = {
  blocking: 'blpop brpop brpoplpush blmove blmovem blmpop bzpopmin bzpopmax bzmpop wait waitaof',
  'block-option': 'xread xreadgroup',
};

/**
 * What there is to know of commands before they are sent, by their names in lower case.
 *
 * @param names of each kind, besides the commands that take long by design
 */
export function commandKinds<Kind extends string>(
  names: Readonly<Record<Kind, string>>,
): ReadonlyMap<string, Kind | LongKind> {
  const kinds = Object.entries<string>({ ...names, ...LONG });
  return new Map(kinds.flatMap(([kind, list]) => list.split(' ').map((name) => [name, kind as Kind | LongKind])));
}

/** Whether XREAD or XREADGROUP waits for entries. */
export function hasBlockOption(args: readonly unknown[]): boolean {
  for (const arg of args) {
    const word = typeof arg === 'string' ? arg.toUpperCase() : '';
    // After STREAMS there are only names and ids, and a stream may be called "block".
    if (word === 'STREAMS') return false;
    if (word === 'BLOCK') return true;
  }
  return false;
}
