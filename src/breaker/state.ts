/** The state of a circuit, as users and telemetry name it. */
export type CircuitState = 'closed' | 'open' | 'half_open';

// Small integers on the hot path; their values are also what the state gauge publishes.
export const CLOSED = 0;
export const OPEN = 1;
export const HALF_OPEN = 2;
export type StateCode = typeof CLOSED | typeof OPEN | typeof HALF_OPEN;

export const STATE_NAMES: readonly [closed: CircuitState, open: CircuitState, halfOpen: CircuitState] = [
  'closed',
  'open',
  'half_open',
];

/** Every change of state a circuit can make; anything else is a bug. Closing an open circuit is what `reset()` does. */
export const TRANSITIONS: readonly (readonly [from: StateCode, to: StateCode])[] = [
  [CLOSED, OPEN],
  [OPEN, HALF_OPEN],
  [OPEN, CLOSED],
  [HALF_OPEN, OPEN],
  [HALF_OPEN, CLOSED],
];
