import type { BreakerConfig } from './config.js';
import { formatPercent, formatSeconds } from './format.js';
import type { SlidingWindow } from './window.js';

/** Whether failures open a closed circuit, and the reason with its numbers. The window has just been rotated. */
export function whyFailing(consecutive: number, window: SlidingWindow, config: BreakerConfig): string | undefined {
  const { failureThreshold, minimumCalls, failureRateThreshold } = config;
  if (consecutive >= failureThreshold) return `${consecutive} consecutive failures (threshold ${failureThreshold})`;
  const { calls, failures } = window;
  if (calls < minimumCalls || failures < calls * failureRateThreshold) return undefined;
  return `failure rate ${describeRate(failureRate(window), calls, config.window, failureRateThreshold)}`;
}

/** Whether one more failure would open a closed circuit. The window has just been rotated. */
export function isOneFailureAway(consecutive: number, window: SlidingWindow, config: BreakerConfig): boolean {
  const { failureThreshold, minimumCalls, failureRateThreshold } = config;
  if (consecutive + 1 >= failureThreshold) return true;
  const calls = window.calls + 1;
  return calls >= minimumCalls && window.failures + 1 >= calls * failureRateThreshold;
}

/**
 * Whether slow calls open a closed circuit, and the reason with its numbers. The window has just been rotated.
 *
 * @param overdue calls in flight that are slow by now
 */
export function whySlow(
  overdue: number,
  window: SlidingWindow,
  slowCallDuration: number,
  config: BreakerConfig,
): string | undefined {
  const { minimumCalls, slowCallRateThreshold } = config;
  const calls = window.calls + window.slowWithoutVerdict + overdue;
  const slow = window.slow + window.slowWithoutVerdict + overdue;
  if (calls < minimumCalls || slow < calls * slowCallRateThreshold) return undefined;
  const rate = describeRate(slowCallRate(window, overdue), calls, config.window, slowCallRateThreshold);
  return `slow-call rate ${rate}, slow from ${formatSeconds(slowCallDuration)}`;
}

/** Share of failures among the calls of the window, 0 to 1; 0 where there were none. */
export function failureRate({ calls, failures }: SlidingWindow): number {
  return calls === 0 ? 0 : failures / calls;
}

/** Share of slow calls, those in flight that are slow by now included, 0 to 1; 0 where there were none. */
export function slowCallRate(window: SlidingWindow, overdue: number): number {
  const given = window.slowWithoutVerdict + overdue;
  const calls = window.calls + given;
  return calls === 0 ? 0 : (window.slow + given) / calls;
}

function describeRate(rate: number, calls: number, window: number, threshold: number): string {
  return `${formatPercent(rate)} of ${calls} calls in ${formatSeconds(window)} (threshold ${formatPercent(threshold)})`;
}
