// One error object that several calls of a client end with is one failure of its target, where they end so close together.
const SAME_ERROR_MS = 50;

/** Knows the error that a call has just ended with again: clients hand one to every call that waits in their queue. */
export class SharedErrors {
  #last: WeakRef<object> | undefined;
  #lastAt = -Infinity;

  /** Whether another call has ended with this very object a moment ago. */
  isKnown(error: unknown, now: number): boolean {
    if (error === null || typeof error !== 'object') return false;
    if (now - this.#lastAt < SAME_ERROR_MS && this.#last?.deref() === error) return true;
    this.#last = new WeakRef(error);
    this.#lastAt = now;
    return false;
  }
}
