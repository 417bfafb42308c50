import { useEffect, useRef, useState } from 'preact/hooks';
import { ACTIONS, type Action, type BreakerDetail } from '../api.js';
import { StateBadge } from './row.js';
import { callsPerSecond, type Row, type State } from '../live-store.js';
import { clock, percent, perSecond, textOf, untilProbe } from '../format.js';

const ACTION_WORDS: Readonly<Record<Action, string>> = {
  open: 'Open the circuit',
  reset: 'Reset (close)',
  observe: 'Observe only',
  enforce: 'Enforce',
};

/** Everything about one breaker, over the rest of the page. */
export function Details({ state, row, onClose }: { state: State; row: Row; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [detail, setDetail] = useState<BreakerDetail>();
  const { name, state: circuit, mode, calls, transitionCount } = row.view;

  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    let wanted = true;
    void fetch(addressOf(name))
      .then(async (answer) => {
        const body: unknown = answer.ok ? await answer.json() : undefined;
        if (wanted) setDetail(body as BreakerDetail | undefined);
      })
      // The header says that the connection is lost. Keep what is shown.
      .catch(() => {});
    return () => {
      wanted = false;
    };
  }, [name, transitionCount, mode, circuit]);

  const facts: readonly (readonly [string, string])[] = [
    ['Failing', `${percent(row.view.failureRate)} of the window`],
    ['Slow', `${percent(row.view.slowCallRate)} of the window`],
    ['Calls', perSecond(callsPerSecond(row))],
    ['Succeeded', calls.success.toLocaleString('en')],
    ['Failed', calls.failure.toLocaleString('en')],
    ['Ignored', calls.ignored.toLocaleString('en')],
    ['Rejected', calls.rejected.toLocaleString('en')],
    ...(row.view.unenforced > 0
      ? [['Would have been rejected', row.view.unenforced.toLocaleString('en')] as const]
      : []),
    ['In flight', String(calls.inFlight)],
    ['Since', clock(row.view.lastStateChange)],
    ...(circuit === 'open' ? [['Next probe', untilProbe(row.view.openUntil, state.now)] as const] : []),
  ];

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
          <StateBadge state={circuit} /> <span class="mode">{mode}</span>{' '}
          {detail?.rule != null && <span class="note">by {detail.rule}</span>}
        </p>
        <dl class="facts">
          {facts.map(([term, fact]) => (
            <div key={term}>
              <dt>{term}</dt>
              <dd>{fact}</dd>
            </div>
          ))}
        </dl>
        <RateChart row={row} />
        {state.admin && <Admin name={name} />}
        <h3>Changes of state</h3>
        {detail === undefined || detail.transitions.length === 0 ? (
          <p class="empty">None yet.</p>
        ) : (
          <ol class="timeline">
            {detail.transitions.map(({ sequence, at, to, reason }) => (
              <li key={sequence} class={to}>
                <time dateTime={at}>{clock(at)}</time>
                <div>
                  <StateBadge state={to} /> {reason}
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

function addressOf(name: string): string {
  return `breakers/${encodeURIComponent(name)}`;
}

/** The library that draws it is loaded on first use. */
function RateChart({ row }: { row: Row }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<import('./chart.js').RateChart>(undefined);
  const rates = useRef(row.rates);
  rates.current = row.rates;

  useEffect(() => {
    let gone = false;
    void import('./chart.js').then(({ RateChart: Chart }) => {
      if (gone || place.current === null) return;
      chart.current = new Chart(place.current);
      chart.current.draw(rates.current);
    });
    return () => {
      gone = true;
      chart.current?.destroy();
      chart.current = undefined;
    };
  }, []);
  useEffect(() => chart.current?.draw(row.rates), [row.rates]);
  return (
    <div ref={place} class="chart" role="img" aria-label="Calls per second over the last two minutes, by outcome" />
  );
}

// Kept in memory only: a token must not be in the browser's storage.
let token = '';

function Admin({ name }: { name: string }) {
  const [given, setGiven] = useState(token);
  const [answer, setAnswer] = useState('');

  async function act(action: Action) {
    token = given;
    const response = await fetch(`${addressOf(name)}/${action}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${given}` },
    }).catch(() => undefined);
    if (response?.ok === true) setAnswer('Done.');
    else if (response?.status === 401) setAnswer('The token was not accepted.');
    else setAnswer(response === undefined ? 'There was no answer.' : await response.text());
  }

  return (
    <fieldset class="admin">
      <legend>Change it</legend>
      <label>
        Token{' '}
        <input
          type="password"
          autocomplete="off"
          value={given}
          onInput={(event) => setGiven(event.currentTarget.value)}
        />
      </label>
      <div class="buttons">
        {ACTIONS.map((action) => (
          <button key={action} type="button" disabled={given === ''} onClick={() => void act(action)}>
            {ACTION_WORDS[action]}
          </button>
        ))}
      </div>
      <p role="status">{answer}</p>
    </fieldset>
  );
}
