import { STATE_WORDS } from '../../console/format.js';
import type { CircuitState } from '../../breaker/state.js';
import type { BreakerReport } from '../report.js';
import { count, length, timeOfDay } from '../words.js';

const WIDTH = 960;
const HEIGHT = 120;
const TOP = 16;
const BAND = 14;
const KINDS = [
  ['called', 'succeeded'],
  ['failed', 'failed'],
] as const;

interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly state: CircuitState;
}

/** One breaker over time: its calls as they were, and below them its circuit as it would have been. */
export function History({ breaker }: { breaker: BreakerReport }) {
  const { beginMs, widthMs, buckets } = breaker.history;
  if (buckets.length === 0) return null;
  const endMs = beginMs + widthMs * buckets.length;
  const x = (ms: number) => ((ms - beginMs) / (endMs - beginMs)) * WIDTH;
  const top = Math.max(1, ...buckets.map(({ called, failed }) => called + failed));
  const y = (calls: number) => (calls / top) * (HEIGHT - 4);
  const bar = WIDTH / buckets.length;
  const summary =
    `${breaker.name}: ${count(breaker.calls)} calls, ${count(breaker.failed)} failed, opened ${breaker.opened} times, ` +
    `rejected ${count(breaker.rejected.failed)} that had failed and ${count(breaker.rejected.succeeded)} that had succeeded`;
  return (
    <figure class="history">
      <svg viewBox={`0 ${-TOP} ${WIDTH} ${TOP + HEIGHT + BAND + 22}`} role="img" aria-label={summary}>
        {buckets.map(({ called, failed, saved, price }, index) => (
          <g key={index} transform={`translate(${(index * bar).toFixed(2)} ${HEIGHT}) scale(1 -1)`}>
            <title>{`${timeOfDay(beginMs + index * widthMs)}: ${called + failed} calls, ${failed} failed, ${saved + price} rejected`}</title>
            <rect class="called" width={width(bar)} height={y(called).toFixed(1)} />
            <rect class="failed" y={y(called).toFixed(1)} width={width(bar)} height={y(failed).toFixed(1)} />
            <rect
              class="saved"
              y={y(called + failed - saved).toFixed(1)}
              width={width(bar)}
              height={y(saved).toFixed(1)}
            />
            <rect class="price" width={width(bar)} height={y(price).toFixed(1)} />
          </g>
        ))}
        {stretches(breaker, beginMs, endMs).map(({ from, to, state }) => (
          <rect
            key={from}
            class={`band ${state}`}
            x={x(from).toFixed(2)}
            y={HEIGHT + 3}
            // What lasted for milliseconds is to be seen in a day.
            width={Math.max(x(to) - x(from), state === 'closed' ? 0 : 1.5).toFixed(2)}
            height={BAND}
          >
            <title>{`${STATE_WORDS[state]} from ${timeOfDay(from)} for ${length(to - from)}`}</title>
          </rect>
        ))}
        <text x="0" y={HEIGHT + BAND + 18}>
          {timeOfDay(beginMs)}
        </text>
        <text x={WIDTH} y={HEIGHT + BAND + 18} text-anchor="end">
          {timeOfDay(endMs)}
        </text>
        <text x={WIDTH} y={2 - TOP / 4} text-anchor="end">
          {count(top)} calls in {length(widthMs)}
        </text>
      </svg>
      <figcaption>
        {KINDS.map(([kind, words]) => (
          <span key={kind} class={`key ${kind}`}>
            {words}
          </span>
        ))}
        <span class="key saved">rejected, had failed</span>
        <span class="key price">rejected, had succeeded</span>
        <span class="key band closed">closed</span>
        <span class="key band open">open</span>
        <span class="key band half_open">half-open</span>
      </figcaption>
    </figure>
  );
}

function width(bar: number): string {
  return Math.max(bar - (bar > 3 ? 1 : 0), 0.5).toFixed(2);
}

function stretches({ changes }: BreakerReport, beginMs: number, endMs: number): Stretch[] {
  let from = beginMs;
  let state: CircuitState = 'closed';
  const all: Stretch[] = [];
  for (const { at, to } of changes) {
    all.push({ from, to: at, state });
    from = at;
    state = to;
  }
  all.push({ from, to: Math.max(endMs, from), state });
  // The short ones last, so that they are drawn over the long ones.
  return all.sort((a, b) => Number(b.state === 'closed') - Number(a.state === 'closed'));
}
