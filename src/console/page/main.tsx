// The page: its parts, and what of it is shown.
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Announcer, Connection, Headline } from './banner.js';
import { Breakers } from './breakers.js';
import { readChoice, writeChoice } from './choice.js';
import { follow, useStaleness } from './connection.js';
import { Details } from './details.js';
import { fleetTrouble } from '../format.js';
import { EMPTY, type Row } from '../live-store.js';
import { Timeline } from './timeline.js';
import { Traces } from './traces.js';

function App() {
  const [state, setState] = useState(EMPTY);
  const [choice, setChoice] = useState(readChoice);
  const heardAt = useRef(0);
  useEffect(() => {
    follow(setState, () => (heardAt.current = performance.now()));
    addEventListener('hashchange', () => setChoice(readChoice()));
  }, []);
  const staleMs = useStaleness(state.connected, heardAt);

  const views = Array.from(state.rows.values(), ({ view }) => view);
  const open = views.filter((view) => view.state === 'open').length;
  const withoutFleet = fleetTrouble(views);
  useEffect(() => {
    document.title = `${open > 0 ? `(${open} open) ` : ''}${state.service || 'Circuit breakers'}`;
  }, [open, state.service]);

  const onOpen = (breaker: string, worker: string | null) =>
    writeChoice({ ...readChoice(), breaker, worker: worker ?? undefined });
  const onTrace = (trace: string) => {
    writeChoice({ trace });
    document.getElementById('traces')?.scrollIntoView({ block: 'nearest' });
  };
  const chosen = choice.breaker === undefined ? undefined : findRow(state.rows.values(), choice.breaker, choice.worker);

  return (
    <>
      <a class="skip" href="#breakers" onClick={(event) => focusOn(event, 'breakers')}>
        Skip to the breakers
      </a>
      <header>
        <h1>
          <img src="page/icon.svg" alt="" width="28" height="28" /> {state.service || 'Circuit breakers'}
        </h1>
        <Connection state={state} staleMs={staleMs} />
      </header>
      <Announcer state={state} />
      <div class={staleMs > 0 ? 'content stale' : 'content'}>
        <Headline state={state} staleMs={staleMs} />
        {state.panic !== null && (
          <p class="panic" role="alert">
            Panic: no call is rejected. {state.panic}
          </p>
        )}
        {state.rulesProblem !== null && (
          <p class="panic" role="alert">
            The rules file has changed and cannot be taken; the rules before stay in force. {state.rulesProblem}
          </p>
        )}
        {withoutFleet !== '' && (
          <p class="headline trouble" role="status">
            {withoutFleet}
          </p>
        )}
        <main>
          <Breakers state={state} onOpen={onOpen} />
          <Timeline state={state} onOpen={onOpen} onTrace={onTrace} />
          <Traces state={state} selected={choice.trace} onTrace={onTrace} onOpen={onOpen} />
        </main>
      </div>
      <footer>
        otel-breaker {state.version} · <a href="metrics">metrics</a> · <a href="breakers">breakers as JSON</a> ·{' '}
        <a href="healthz">health</a> · <a href="page/LICENSES.txt">licences</a>
      </footer>
      {chosen !== undefined && (
        <Details
          key={chosen.id}
          state={state}
          row={chosen}
          onTrace={onTrace}
          onClose={() => writeChoice({ trace: readChoice().trace })}
        />
      )}
    </>
  );
}

/** The breaker of that name in that worker; where no worker is named, in any. */
function findRow(rows: Iterable<Row>, name: string, worker: string | undefined): Row | undefined {
  const named = Array.from(rows).filter(({ view }) => view.name === name);
  return (
    named.find(({ view }) => (view.worker ?? undefined) === worker) ?? (worker === undefined ? named[0] : undefined)
  );
}

// Following the link would replace the selection in the address.
function focusOn(event: Event, id: string): void {
  event.preventDefault();
  document.querySelector<HTMLElement>(`#${id} input`)?.focus();
}

render(<App />, document.getElementById('app')!);
