import { eventLoop, type LoopWatch } from './event-loop-stalls.js';

/** Clocks and chance, so that tests can move them. */
export interface BreakerSeams {
  /** Milliseconds that only ever grow. */
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly wallNow: () => number;
  /** At least 0, below 1. */
  readonly random: () => number;
  /** Whether we could listen while a call waited. */
  readonly loop: LoopWatch;
}

// Captured at load: the fake timers of an application's tests must not freeze its breakers.
export const realSeams: BreakerSeams = {
  now: performance.now.bind(performance),
  wallNow: Date.now,
  random: Math.random,
  loop: eventLoop,
};
