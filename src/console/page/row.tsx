import { Component } from 'preact';
import { callsPerSecond, notServed, recentCalls, sum, type Bucket, type Row } from '../live-store.js';
import {
  count,
  milliseconds,
  percent,
  perSecond,
  progressOf,
  STATE_SIGNS,
  STATE_WORDS,
  untilProbe,
} from '../format.js';
import { BUCKET_MS, BUCKETS } from '../api.js';
import type { CircuitState } from '../../breaker/state.js';

export function StateBadge({ state }: { state: CircuitState }) {
  return (
    <span class={`badge ${state}`}>
      <span aria-hidden="true">{STATE_SIGNS[state]}</span> {STATE_WORDS[state]}
    </span>
  );
}

const WIDTH = 120;
const HEIGHT = 22;

interface SparklineProps {
  readonly past: readonly Bucket[];
  /** The bucket of this moment. */
  readonly present: number;
}

/**
 * Calls of the last minutes; failed and rejected ones in the colour of open circuits. Drawn again with each bucket, not with
 * each call: curves are most of what a browser has to paint here.
 */
class Sparkline extends Component<SparklineProps> {
  override shouldComponentUpdate({ past, present }: SparklineProps): boolean {
    return present !== this.props.present || past.length !== this.props.past.length;
  }

  render({ past }: SparklineProps) {
    const top = Math.max(1, ...past.map(sum));
    const from = BUCKETS - past.length;
    const area = (value: (bucket: Bucket) => number) => {
      let path = '';
      past.forEach((bucket, index) => {
        const x = (((from + index) / (BUCKETS - 1)) * WIDTH).toFixed(0);
        path += `${path === '' ? `M${x} ${HEIGHT}L` : 'L'}${x} ${(HEIGHT - (value(bucket) / top) * (HEIGHT - 1)).toFixed(1)}`;
      });
      return path === '' ? '' : `${path}L${WIDTH} ${HEIGHT}Z`;
    };
    return (
      <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        <path class="all" d={area(sum)} />
        <path class="bad" d={area(({ failed, rejected }) => failed + rejected)} />
      </svg>
    );
  }
}

interface Props {
  readonly row: Row;
  /** In the whole list, from 1. */
  readonly index: number;
  readonly now: number;
  /** The Tab key reaches one row; arrow keys go to the others. */
  readonly tabbable: boolean;
  readonly onOpen: (name: string, worker: string | null) => void;
}

/** One breaker of the list. Drawn again only when something of it, or its time, changes. */
export class BreakerRow extends Component<Props> {
  override shouldComponentUpdate({ row, now, index, tabbable }: Props): boolean {
    const before = this.props;
    const isTimed = row.past.length > 0 || row.view.state !== 'closed';
    return (
      row !== before.row || index !== before.index || tabbable !== before.tabbable || (isTimed && now !== before.now)
    );
  }

  render({ row, index, now, tabbable, onOpen }: Props) {
    const { view } = row;
    const { id } = row;
    const { name, worker, state, mode, failureRate, calls, unenforced, trouble, probes, latency } = view;
    const unserved = notServed(row, now);
    return (
      <div role="row" class={`row ${state}`} aria-rowindex={index + 1}>
        <div role="cell" class="name">
          <div class="who">
            <button
              type="button"
              data-row={id}
              title={name}
              tabIndex={tabbable ? 0 : -1}
              onClick={() => onOpen(name, worker)}
            >
              {name}
            </button>
            {worker !== null && <span class="tag">worker {worker}</span>}
            {mode !== 'enforce' && <span class="tag">{mode}</span>}
          </div>
          {trouble !== null && (
            <div class="why" title={trouble.reason}>
              {trouble.reason}
            </div>
          )}
        </div>
        <div role="cell" class="state">
          <StateBadge state={state} />
        </div>
        <div role="cell" class="probe">
          {state === 'open' && <span title="Next probe">{untilProbe(view.openUntil, now)}</span>}
          {state === 'half_open' && (
            <span title={probes === null ? 'Calls that are let through' : 'Probes that succeeded'}>
              {progressOf(view)}
            </span>
          )}
        </div>
        <div role="cell" class={`number unserved ${unserved > 0 ? 'some' : ''}`}>
          <span title="Share of the last minute’s callers that got no answer">{percent(unserved)}</span>
          {failureRate > 0 && (
            <small title="Share of failures within the window, by which the circuit is judged">
              window {percent(failureRate)}
            </small>
          )}
        </div>
        <div role="cell" class="number rate">
          {perSecond(callsPerSecond(row, now))}
        </div>
        <div role="cell" class="number refused">
          {count(calls.rejected)}
          {unenforced > 0 && (
            <small title="Not rejected, in mode observe or in panic">{count(unenforced)} let through</small>
          )}
        </div>
        <div role="cell" class="number latency">
          {latency !== null && (
            <span
              title={`p50 ${milliseconds(latency.p50)}, p95 ${milliseconds(latency.p95)}, p99 ${milliseconds(latency.p99)}`}
            >
              {milliseconds(latency.p95)}
            </span>
          )}
        </div>
        <div role="cell" class="trend">
          <Sparkline past={recentCalls(row, now)} present={Math.floor(now / BUCKET_MS)} />
        </div>
      </div>
    );
  }
}
