import type { Circuits } from './circuits.js';
import type { Lane } from './lane.js';
import type { ReadSoFar } from './read-spans.js';
import {
  LEFT_OUT,
  type BreakerReport,
  type LeftOut,
  type ReplayReport,
  type SamplingReport,
  type Suggestions,
} from './report.js';

export interface Played {
  readonly name: string;
  readonly circuits: Circuits;
}

export function makeReport(
  files: readonly string[],
  read: ReadSoFar,
  played: readonly Played[],
  sampled: number | undefined,
  suggestions: readonly Suggestions[] | null,
): ReplayReport {
  const { spans, calls, fromMs, toMs, leftOut } = read;
  return {
    files,
    spans,
    calls,
    fromMs: calls === 0 ? 0 : fromMs,
    toMs: calls === 0 ? 0 : toMs,
    leftOut,
    sampling: samplingOf(read, sampled),
    rules: played.map(({ name, circuits }) => ({
      name,
      unguarded: circuits.unguarded.calls,
      panics: circuits.panics,
      breakers: circuits.lanes.map(reportOf).sort(byImportance),
    })),
    suggestions,
  };
}

function samplingOf({ calls, sampling }: ReadSoFar, sampled: number | undefined): SamplingReport | null {
  if (sampled !== undefined) return { share: sampled, source: '--sampled' };
  return sampling.sampled === 0 ? null : { share: calls / sampling.standFor, source: 'tracestate' };
}

function reportOf(lane: Lane): BreakerReport {
  const { name, system, calls, succeeded, failed, other, opened, savedMs, episodes, changes, buckets } = lane;
  return {
    name,
    system,
    calls,
    succeeded,
    failed,
    other,
    opened,
    openMs: lane.openForMs,
    rejected: lane.rejections,
    savedMs,
    episodes,
    changes,
    history: { beginMs: buckets?.beginMs ?? 0, widthMs: buckets?.widthMs ?? 0, buckets: buckets?.list() ?? [] },
  };
}

function byImportance(a: BreakerReport, b: BreakerReport): number {
  return b.opened - a.opened || b.failed - a.failed || b.calls - a.calls || (a.name < b.name ? -1 : 1);
}

/** What was left out, in words; the spans that are no calls are told of elsewhere. */
export function leftOutInWords(leftOut: ReplayReport['leftOut']): string[] {
  return (Object.entries(LEFT_OUT) as [LeftOut, string][])
    .filter(([reason]) => reason !== 'other' && leftOut[reason] > 0)
    .map(([reason, words]) => `${leftOut[reason].toLocaleString('en')} ${words}`);
}
