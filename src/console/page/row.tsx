import { Component } from 'preact';
import { callsPerSecond, type Rates, type Row } from '../live-store.js';
import { percent, perSecond, STATE_SIGNS, STATE_WORDS, untilProbe } from '../format.js';
import type { CircuitState } from '../../breaker/state.js';

export function StateBadge({ state }: { state: CircuitState }) {
  return (
    <span class={`badge ${state}`}>
      <span aria-hidden="true">{STATE_SIGNS[state]}</span> {STATE_WORDS[state]}
    </span>
  );
}

const SECONDS = 60;
const WIDTH = 120;
const HEIGHT = 22;

/** Calls of the last minute; failed and rejected ones in red. */
function Sparkline({ rates }: { rates: readonly Rates[] }) {
  const shown = rates.slice(-SECONDS);
  const top = Math.max(1, ...shown.map(({ succeeded, failed, rejected }) => succeeded + failed + rejected));
  const from = SECONDS - shown.length;
  const area = (value: (rates: Rates) => number) => {
    let path = '';
    shown.forEach((point, index) => {
      const x = (((from + index) / (SECONDS - 1)) * WIDTH).toFixed(0);
      path += `${path === '' ? `M${x} ${HEIGHT}L` : 'L'}${x} ${(HEIGHT - (value(point) / top) * (HEIGHT - 1)).toFixed(1)}`;
    });
    return path === '' ? '' : `${path}L${WIDTH} ${HEIGHT}Z`;
  };
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path class="all" d={area(({ succeeded, failed, rejected }) => succeeded + failed + rejected)} />
      <path class="bad" d={area(({ failed, rejected }) => failed + rejected)} />
    </svg>
  );
}

interface Props {
  readonly row: Row;
  readonly now: number;
  /** The Tab key reaches one row; arrow keys go to the others. */
  readonly tabbable: boolean;
  readonly onOpen: (name: string) => void;
}

/** One breaker of the list. Drawn again only when its data changes. */
export class BreakerRow extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    return next.row !== this.props.row || next.tabbable !== this.props.tabbable;
  }

  render({ row, now, tabbable, onOpen }: Props) {
    const { view } = row;
    const { name, state, mode, failureRate, calls } = view;
    return (
      <div role="row" class={`row ${state}`}>
        <div role="cell" class="name">
          <button type="button" data-row={name} tabIndex={tabbable ? 0 : -1} onClick={() => onOpen(name)}>
            {name}
          </button>
          {mode !== 'enforce' && <span class="mode">{mode}</span>}
        </div>
        <div role="cell" class="state">
          <StateBadge state={state} />
        </div>
        <div role="cell" class="probe">
          {state === 'open' && <span title="Next probe">{untilProbe(view.openUntil, now)}</span>}
        </div>
        <div role="cell" class={`number failing ${failureRate > 0 ? 'some' : ''}`}>
          {percent(failureRate)}
        </div>
        <div role="cell" class="number rate">
          {perSecond(callsPerSecond(row))}
        </div>
        <div role="cell" class="number rejected">
          {(calls.rejected + view.unenforced).toLocaleString('en')}
        </div>
        <div role="cell" class="trend">
          <Sparkline rates={row.rates} />
        </div>
      </div>
    );
  }
}
