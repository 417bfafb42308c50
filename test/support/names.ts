let made = 0;

/** A name that no other test has given to a breaker: the global registry outlives a test. */
export function newName(kind = 'breaker'): string {
  return `${kind}-${++made}`;
}
