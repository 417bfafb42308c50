import { diagnostics } from './diagnostics.js';
import type { Transition } from './observer.js';

/** A change that is still to be told of, and what the call that caused it was acquired with. */
interface Change {
  readonly transition: Transition;
  readonly context: unknown;
}

/** Tells of the changes of one circuit. Where a listener makes another one, all hear of the first before anybody hears of that. */
export class Announcements {
  readonly #listeners = new Set<(transition: Transition) => void>();
  #untold: Change[] | undefined;

  /** @returns a function that ends it */
  add(listener: (transition: Transition) => void): () => void {
    // A wrapper, so that the same function can be registered twice and each registration ended on its own.
    const registration = (transition: Transition) => listener(transition);
    this.#listeners.add(registration);
    return () => {
      this.#listeners.delete(registration);
    };
  }

  /** @param tellObserver told before the listeners; must not throw */
  announce(change: Change, tellObserver: (change: Change) => void): void {
    if (this.#untold !== undefined) {
      this.#untold.push(change);
      return;
    }
    this.#untold = [change];
    for (const untold of this.#untold) {
      tellObserver(untold);
      for (const listener of this.#listeners) tell(listener, untold.transition);
    }
    this.#untold = undefined;
  }
}

function tell(listener: (transition: Transition) => void, transition: Transition): void {
  try {
    listener(transition);
  } catch (error) {
    diagnostics.report(`A transition listener of circuit breaker "${transition.name}" threw`, error);
  }
}
