// One for all copies of this package in a process: whichever patches a client must know the connections of all.
const OWN = Symbol.for('otel-breaker.own-clients');
const own = ((globalThis as Record<symbol, unknown>)[OWN] ??= new WeakSet()) as WeakSet<object>;

/** The client is one of ours: its calls are not the application's, and are neither guarded nor counted. */
export function markOwnClient(client: object): void {
  own.add(client);
}

export function isOwnClient(client: object): boolean {
  return own.has(client);
}
