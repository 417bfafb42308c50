/**
 * What a replay found: what `--json` prints, and what its page is drawn from. Knows nothing of what makes it, so that the
 * page takes nothing of that with it.
 */
import type { CircuitState } from '../breaker/state.js';
import type { Bucket } from './buckets.js';

/** Why a span is no call that can be replayed. */
export const LEFT_OUT = {
  /** No CLIENT span of a system that has breakers: most spans of a recording. */
  other: 'no calls of a known system',
  /** It was rejected when it was recorded, by a breaker that enforced: nobody knows what would have become of it. */
  rejected: 'calls that a circuit rejected when they were recorded: their outcome is unknown',
  withoutTime: 'spans without a start, an end or a duration',
  withoutTarget: 'calls whose target no attribute names',
  late: 'spans that came more than five minutes after later ones',
} as const;
export type LeftOut = keyof typeof LEFT_OUT;

/** What a replay found: what `--json` prints, and what the page is drawn from. Times are milliseconds since 1970. */
export interface ReplayReport {
  readonly files: readonly string[];
  readonly spans: number;
  readonly calls: number;
  readonly fromMs: number;
  readonly toMs: number;
  /** Spans that were not replayed, by reason. */
  readonly leftOut: Readonly<Record<LeftOut, number>>;
  /** Where traces were sampled, counts and streaks are estimates. */
  readonly sampling: SamplingReport | null;
  /** Of the new rules, and after them those that they were compared with. */
  readonly rules: readonly RulesReport[];
  readonly suggestions: readonly Suggestions[] | null;
}

export interface SamplingReport {
  /** The share of calls that was recorded. */
  readonly share: number;
  /** What says so. */
  readonly source: '--sampled' | 'tracestate';
}

export interface RulesReport {
  readonly name: string;
  /** Calls to targets that the rules guard by no breaker: mode `off`. */
  readonly unguarded: number;
  /** How many times so many targets were lost at once that nothing was rejected. */
  readonly panics: number;
  /** Those that opened first, then those with the most failures. */
  readonly breakers: readonly BreakerReport[];
}

export interface BreakerReport {
  readonly name: string;
  readonly system: string;
  readonly calls: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Neither: given up by their callers, or with an answer that says nothing. */
  readonly other: number;
  /** How many times it opened; the times after a failed probe not counted. */
  readonly opened: number;
  /** For how long it was not closed. */
  readonly openMs: number;
  readonly rejected: Rejected;
  /** How long the rejected calls that failed had taken, together. */
  readonly savedMs: number;
  readonly episodes: readonly Episode[];
  readonly changes: readonly Change[];
  /** Calls over time. */
  readonly history: { readonly beginMs: number; readonly widthMs: number; readonly buckets: readonly Bucket[] };
}

/** One change of a circuit. */
export interface Change {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly reason: string;
}

/** From the moment a circuit opened until it was closed again. */
export interface Episode {
  readonly openedAt: number;
  /** `null` where it was not closed at the end of the recording. */
  closedAt: number | null;
  readonly reason: string;
  /** From the start of the first call of this trouble that failed until the circuit opened. */
  readonly noticedAfterMs: number;
  /** How many times a probe failed, and it opened again. */
  reopened: number;
  rejected: Rejected;
}

/** Calls that would have been rejected, by what became of them when they were made. */
export interface Rejected {
  failed: number;
  succeeded: number;
  /** Neither: given up by their callers, or with an answer that says nothing. */
  other: number;
}

/** The options that `--suggest` tries; durations in milliseconds. */
export interface TriedOptions {
  readonly failureThreshold: number;
  readonly failureRateThreshold: number;
  readonly minimumCalls: number;
  readonly openDuration: number;
}

/** One way to set a breaker, and what it would have come to. */
export interface Suggestion {
  /** `null`: the rules as they are. */
  readonly options: TriedOptions | null;
  readonly opened: number;
  /** Calls rejected that had failed, and those that had succeeded. */
  readonly saved: number;
  readonly price: number;
}

export interface Suggestions {
  readonly name: string;
  /** Those that no other beats on both counts, the cheapest first. */
  readonly best: readonly Suggestion[];
}
