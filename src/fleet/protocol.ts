// What replicas say to the engine and hear from it: requests of any number of acts, their replies, and messages to all.

// Times are milliseconds of the engine's clock. A replica sends ages rather than times, since its own clock may be wrong.

/** How long the openings of one breaker are, as its options say; milliseconds. */
export interface Steps {
  readonly initial: number;
  readonly open: number;
  readonly backoff: number;
  readonly max: number;
  /** A circuit that opens again within this time of its closing carries its trouble on. */
  readonly window: number;
}

/** What a replica does about one breaker. */
export type Act = { readonly name: string } & (
  | {
      /** Its own calls fail. */
      readonly act: 'accuse';
      /** Milliseconds since the first of the failing calls began. */
      readonly age: number;
      /** Failures in a row; `threshold` where its own circuit is open. */
      readonly streak: number;
      readonly threshold: number;
      readonly steps: Steps;
      /** The target asked to be left alone for that many milliseconds; 0: it did not. */
      readonly hold: number;
      /** The span of the failing call, as a `traceparent`; empty where there is none. */
      readonly trace: string;
    }
  /** Its own call began after the trouble began, and succeeded. */
  | { readonly act: 'object'; readonly epoch: number }
  /** A call succeeded after those that it accused for. */
  | { readonly act: 'withdraw' }
  /** It wants to probe. `early`: the target has shown a sign of life, so not only at the end of the opening. */
  | { readonly act: 'lease'; readonly epoch: number; readonly max: number; readonly early: boolean }
  /** Its probe still waits. */
  | { readonly act: 'renew'; readonly epoch: number }
  | {
      /** Its probe has ended. `free`: it had no ticket, since it only observes; it counts where it could have had one. */
      readonly act: 'settle';
      readonly epoch: number;
      readonly ok: boolean;
      readonly free: boolean;
      readonly max: number;
      /** This number of successes closes; more failures than `tolerated` open again. */
      readonly needed: number;
      readonly tolerated: number;
      readonly steps: Steps;
    }
);

export interface Request {
  readonly id: string;
  /** What counts as one voter: the host. */
  readonly domain: string;
  /** Of the book as the replica knows it; 0: not at all. */
  readonly rev: number;
  /** When it was sent, by the engine's clock as the replica estimates it; 0 where it cannot yet: then no act counts. */
  readonly at: number;
  /** Hosts that the replica has lately known to live. */
  readonly size: number;
  readonly quorum: number;
  readonly share: number;
  readonly agreement: number;
  readonly hearing: number;
  readonly lease: number;
  readonly heartbeat: number;
  readonly acts: readonly Act[];
}

/** The fleet's word on a breaker whose circuit it holds open. */
export interface Verdict {
  /** Grows with each opening. */
  readonly epoch: number;
  /** Trouble began then: calls that began later and succeeded speak against the verdict. */
  readonly since: number;
  /** In force from then on: until then, whoever knows better may object. */
  readonly from: number;
  readonly until: number;
  /** Length of the opening. */
  readonly openFor: number;
  /** Hosts that saw it fail, hosts that objected, and hosts there are. */
  readonly failing: number;
  readonly against: number;
  readonly hosts: number;
  /** The span of the call that failed last before it opened, as a `traceparent`; empty where there is none. */
  readonly trace: string;
}

export interface Result {
  /**
   * `done`; `late`: too old to count; `void`: about another epoch, or without the ticket for it; `none`: nothing is open;
   * `granted`: a ticket; `wait`: none, but perhaps after `wait` milliseconds.
   */
  readonly is: 'done' | 'late' | 'void' | 'none' | 'granted' | 'wait';
  readonly wait?: number;
}

export interface Reply {
  readonly now: number;
  readonly rev: number;
  readonly replicas: number;
  readonly hosts: number;
  readonly results: readonly Result[];
  /** All verdicts, where the replica's book is not the current one. */
  readonly book?: Readonly<Record<string, Verdict>>;
}

/** What all replicas hear. */
export type Message = { readonly name: string; readonly now: number } & (
  | { readonly is: 'open'; readonly rev: number; readonly prev: number; readonly verdict: Verdict }
  | { readonly is: 'lift' | 'close'; readonly rev: number; readonly prev: number; readonly epoch: number }
  /** Somebody probes; nobody else gets a ticket before `next`. */
  | { readonly is: 'lease'; readonly epoch: number; readonly next: number; readonly by: string }
);

/** Evidence that was on its way for longer says nothing of now. */
export const LATE_MS = 2_000;
/** Trouble that began earlier is dated to this long ago. */
export const OLDEST_MS = 10_000;
/** A ticket that nothing was heard of for this long lets another replica try. */
export const UNUSED_MS = 250;
/** The longest hearing. */
export const LONGEST_HEARING_MS = 1_000;
/** After each lift in a row: the first and the longest time for which an opening needs twice the accusers. */
export const FIRST_DISPUTE_MS = 1_000;
export const LONGEST_DISPUTE_MS = 30_000;
/** Lifts that are further apart are not in a row. */
export const FORGET_DISPUTES_MS = 60_000;
/** Heartbeats that a replica may miss before it counts as gone. */
export const MISSED_HEARTBEATS = 3;
/** An opening that nobody has probed for this long after its end is forgotten: every replica probes by itself by then. */
export const FORGOTTEN_MS = 10 * 60_000;
/** An opening lasts this share of the time for which the circuit has not been closed. As in the core. */
export const SHARE_OF_OUTAGE = 0.25;
