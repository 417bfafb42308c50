// The modes of a breaker, in a file that the page of the console can take without what Node brings.
/** `enforce` rejects calls while the circuit is open; `observe` runs the whole machine and rejects nothing; `off` does nothing. */
export type Mode = 'enforce' | 'observe' | 'off';
