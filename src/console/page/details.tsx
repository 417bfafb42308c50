import { useEffect, useRef } from 'preact/hooks';
import { Admin } from './admin.js';
import { CallsChart } from './calls-chart.js';
import { useDetail } from './detail-source.js';
import { StateBadge } from './row.js';
import { callsPerSecond, notServed, refusedSince, type Row, type State } from '../live-store.js';
import {
  count,
  day,
  fleetWords,
  milliseconds,
  moment,
  percent,
  perSecond,
  progressOf,
  span,
  textOf,
  untilProbe,
} from '../format.js';

interface Props {
  readonly state: State;
  readonly row: Row;
  readonly onClose: () => void;
  readonly onTrace: (traceId: string) => void;
}

/** Everything about one breaker, over the rest of the page. */
export function Details({ state, row, onClose, onTrace }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { view } = row;
  const { name, worker, state: circuit, mode } = view;
  const latest = state.transitions.find((transition) => transition.name === name && transition.worker === worker);
  const detail = useDetail(view, latest?.sequence);
  const traces = new Set(state.traces.map(({ traceId }) => traceId));
  const others = [...state.rows.values()].filter((other) => other.view.name === name && other.id !== row.id).length;

  const today = day(new Date(state.now).toISOString());

  useEffect(() => dialog.current?.showModal(), []);

  return (
    <dialog
      ref={dialog}
      aria-labelledby="details-title"
      class="details"
      onClose={onClose}
      onClick={(event) => {
        // A click on the backdrop has the dialog as its target; a click inside has an element of its content.
        if (event.target === dialog.current) dialog.current?.close();
      }}
    >
      <div class="inside">
        <div class="bar">
          <h2 id="details-title">{name}</h2>
          <button type="button" class="close" aria-label="Close" onClick={() => dialog.current?.close()}>
            ✕
          </button>
        </div>
        <p>
          <StateBadge state={circuit} /> <span class="tag">{mode}</span>{' '}
          {worker !== null && <span class="tag">worker {worker}</span>}{' '}
          {detail?.rule != null && <span class="note">by {detail.rule}</span>}
        </p>
        <dl class="facts">
          {factsOf(row, state.now).map(([term, fact]) => (
            <div key={term}>
              <dt>{term}</dt>
              <dd>{fact}</dd>
            </div>
          ))}
        </dl>
        <CallsChart row={row} now={state.now} />
        {state.admin && <Admin name={name} worker={worker} others={others} />}
        <h3>Changes of state</h3>
        {detail === undefined || detail.transitions.length === 0 ? (
          <p class="empty">None yet.</p>
        ) : (
          <ol class="timeline">
            {detail.transitions.map(({ sequence, at, to, reason, traceId }) => (
              <li key={sequence} class={to}>
                <time dateTime={at}>{moment(at, today)}</time>
                <div>
                  <StateBadge state={to} /> {reason}
                  {traceId !== null && traces.has(traceId) && (
                    <>
                      {' · '}
                      <button type="button" class="link" onClick={() => onTrace(traceId)}>
                        trace
                      </button>
                    </>
                  )}
                </div>
              </li>
            ))}
          </ol>
        )}
        <h3>Options</h3>
        <div class="scroll" tabIndex={0} role="region" aria-label="Options">
          <table>
            <thead>
              <tr>
                <th scope="col">Option</th>
                <th scope="col">Value</th>
                <th scope="col">From</th>
              </tr>
            </thead>
            <tbody>
              {detail?.options.map(({ key, value, source }) => (
                <tr key={key}>
                  <th scope="row">{key}</th>
                  <td>{Array.isArray(value) ? value.join(', ') : textOf(value)}</td>
                  <td>{source ?? 'code or console'}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </div>
    </dialog>
  );
}

function factsOf(row: Row, now: number): readonly (readonly [term: string, fact: string])[] {
  const { view } = row;
  const { state, calls, trouble, latency, probes, unenforced } = view;
  const today = day(new Date(now).toISOString());
  return [
    ['Not served', `${percent(notServed(row, now))} of the last minute’s callers`],
    // While the circuit is open nothing fails, since hardly anything is tried.
    ...(state === 'closed' || view.failureRate > 0
      ? [['Failing', `${percent(view.failureRate)} of the window`] as const]
      : []),
    ...(view.slowCallRate > 0 ? [['Slow', `${percent(view.slowCallRate)} of the window`] as const] : []),
    ['Calls', perSecond(callsPerSecond(row, now))],
    ...(latency === null
      ? []
      : ([
          ['p50', milliseconds(latency.p50)],
          ['p95', milliseconds(latency.p95)],
          ['p99', milliseconds(latency.p99)],
        ] as const)),
    ['Succeeded', count(calls.success)],
    ['Failed', count(calls.failure)],
    ...(calls.ignored > 0 ? [['Ignored', count(calls.ignored)] as const] : []),
    ['Rejected', count(calls.rejected)],
    ...(unenforced > 0 ? [['Would have been rejected', count(unenforced)] as const] : []),
    ['In flight', count(calls.inFlight)],
    ...(trouble === null
      ? []
      : ([
          ['Not closed', `for ${span(now - Date.parse(trouble.since))}, since ${moment(trouble.since, today)}`],
          ['Refused since', count(refusedSince(row))],
        ] as const)),
    [state === 'closed' ? 'Closed since' : 'Last change', moment(view.lastStateChange, today)],
    ...(state === 'open' ? [['Next probe', untilProbe(view.openUntil, now)] as const] : []),
    ...(state === 'half_open' ? [[probes === null ? 'Let through' : 'Probes', progressOf(view)] as const] : []),
    ...(view.fleet === undefined ? [] : [['Fleet', fleetWords(view.fleet)] as const]),
  ];
}
