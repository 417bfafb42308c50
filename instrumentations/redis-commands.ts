// What is known of the commands of Redis, whichever client sends them.

const ALWAYS = 'blpop brpop brpoplpush blmove blmovem blmpop bzpopmin bzpopmax bzmpop wait waitaof';
const BY_OPTION = 'xread xreadgroup';

/** The commands that take long by design, by their names in lower case: always, or with option BLOCK. */
export const BLOCKING_COMMANDS: ReadonlyMap<string, 'blocking' | 'block-option'> = new Map([
  ...ALWAYS.split(' ').map((name) => [name, 'blocking'] as const),
  ...BY_OPTION.split(' ').map((name) => [name, 'block-option'] as const),
]);

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
