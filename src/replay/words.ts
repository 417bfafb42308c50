// Numbers and times as the table and the page of a replay say them.
import type { BreakerReport } from './report.js';

/** Numbers, times and lengths of time as the table and the page of a replay say them. Imports types only: the page has it too. */

/** An estimate of how many there were, where only a share was recorded. */
export function count(number: number, share = 1): string {
  return share < 1 ? `≈ ${Math.round(number / share).toLocaleString('en')}` : number.toLocaleString('en');
}

export function length(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Number((ms / 1_000).toFixed(1))} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** In UTC, as logs and traces are compared by: `2026-11-25 12:03:01.250`. */
export function moment(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, -1);
}

export function timeOfDay(ms: number): string {
  return moment(ms).slice(11);
}

/** "1 call", "3 calls". */
export function plural(number: number, word: string): string {
  return `${number.toLocaleString('en')} ${word}${number === 1 ? '' : 's'}`;
}

/**
 * What a breaker did, as the table and the page have it: calls, failed, opened, open for, saved, time saved, price, noticed
 * after (the median of its openings).
 *
 * @param kept the share of calls that was recorded
 */
export function numbersOf(breaker: BreakerReport, kept: number): string[] {
  const { calls, failed, opened, openMs, rejected, savedMs, episodes } = breaker;
  const noticed = episodes.map(({ noticedAfterMs }) => noticedAfterMs).sort((a, b) => a - b);
  return [
    count(calls, kept),
    count(failed, kept),
    String(opened),
    opened === 0 ? '–' : length(openMs),
    count(rejected.failed, kept),
    savedMs === 0 ? '–' : length(savedMs / kept),
    count(rejected.succeeded, kept),
    noticed.length === 0 ? '–' : length(noticed[Math.floor((noticed.length - 1) / 2)]!),
  ];
}
