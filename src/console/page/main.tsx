import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Breakers } from './breakers.js';
import { Details } from './details.js';
import { EMPTY, reduce, type Message, type State } from '../live-store.js';
import { Timeline } from './timeline.js';
import { Traces } from './traces.js';
import { STATE_WORDS } from '../format.js';

const RETRY_MS = 5_000;
// Above this number of changes at once, a screen reader hears their number only.
const MAX_ANNOUNCED = 3;

/** Keeps what the server sends, and draws at most once per frame. */
function follow(onState: (state: State) => void): void {
  let state = EMPTY;
  let drawing = false;

  function take(message: Message) {
    state = reduce(state, message);
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      onState(state);
    });
  }

  function connect() {
    const events = new EventSource('events');
    for (const kind of ['snapshot', 'tick', 'transition', 'traces'] as const) {
      events.addEventListener(kind, ({ data }: MessageEvent<string>) =>
        take({ kind, data: JSON.parse(data) as never }),
      );
    }
    events.addEventListener('error', () => {
      take({ kind: 'lost' });
      // EventSource reconnects by itself after a lost connection, but not after an answer that was no event stream.
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
    });
  }
  connect();
}

/** The address holds the selection, so that it can be shared and the back button works. */
interface Choice {
  readonly breaker: string | undefined;
  readonly trace: string | undefined;
}

function readChoice(): Choice {
  const parameters = new URLSearchParams(location.hash.slice(1));
  return { breaker: parameters.get('breaker') ?? undefined, trace: parameters.get('trace') ?? undefined };
}

function writeChoice(choice: Choice): void {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(choice)) if (value !== undefined) parameters.set(key, String(value));
  location.hash = parameters.toString();
}

function App() {
  const [state, setState] = useState(EMPTY);
  const [choice, setChoice] = useState(readChoice);
  useEffect(() => {
    follow(setState);
    addEventListener('hashchange', () => setChoice(readChoice()));
  }, []);

  const open = [...state.rows.values()].filter(({ view }) => view.state === 'open').length;
  useEffect(() => {
    document.title = `${open > 0 ? `(${open} open) ` : ''}${state.service || 'Circuit breakers'}`;
  }, [open, state.service]);

  const onOpen = (breaker: string) => writeChoice({ ...choice, breaker });
  const onTrace = (trace: string) => {
    writeChoice({ breaker: undefined, trace });
    document.getElementById('traces')?.scrollIntoView({ block: 'nearest' });
  };
  const chosen = choice.breaker === undefined ? undefined : state.rows.get(choice.breaker);

  return (
    <>
      <a class="skip" href="#breakers" onClick={(event) => focusOn(event, 'breakers')}>
        Skip to the breakers
      </a>
      <header>
        <h1>
          <img src="page/icon.svg" alt="" width="28" height="28" /> {state.service || 'Circuit breakers'}
        </h1>
        <p class={`connection ${state.connected ? 'live' : 'lost'}`} role="status">
          {state.connected ? 'live' : state.loaded ? 'connection lost, retrying' : 'connecting'}
        </p>
      </header>
      <Announcer state={state} />
      {state.panic !== null && (
        <p class="panic" role="alert">
          Panic: no call is rejected. {state.panic}
        </p>
      )}
      <main>
        <Breakers state={state} onOpen={onOpen} />
        <Timeline state={state} onOpen={onOpen} onTrace={onTrace} />
        <Traces state={state} selected={choice.trace} onTrace={onTrace} />
      </main>
      <footer>
        otel-breaker {state.version} · <a href="metrics">metrics</a> · <a href="breakers">breakers as JSON</a> ·{' '}
        <a href="healthz">health</a> · <a href="page/LICENSES.txt">licences</a>
      </footer>
      {chosen !== undefined && (
        <Details
          key={chosen.view.name}
          state={state}
          row={chosen}
          onClose={() => writeChoice({ ...readChoice(), breaker: undefined })}
        />
      )}
    </>
  );
}

// Following the link would replace the selection in the address.
function focusOn(event: Event, id: string): void {
  event.preventDefault();
  document.querySelector<HTMLElement>(`#${id} input`)?.focus();
}

/** Tells screen readers what has changed, once. */
function Announcer({ state: { transitions, loaded } }: { state: State }) {
  const [said, setSaid] = useState<number>();
  const [text, setText] = useState('');
  const newest = transitions[0]?.sequence ?? 0;
  useEffect(() => {
    if (!loaded) return;
    setSaid(newest);
    // Do not announce what happened before the page was opened.
    if (said === undefined || newest <= said) return;
    const fresh = transitions.filter(({ sequence }) => sequence > said);
    setText(
      fresh.length > MAX_ANNOUNCED
        ? `${fresh.length} circuits changed their state`
        : fresh.map(({ name, to, reason }) => `${name} is ${STATE_WORDS[to]}: ${reason}`).join('. '),
    );
  }, [loaded, newest]);
  return (
    <div class="unseen" aria-live="polite" data-announcer>
      {text}
    </div>
  );
}

render(<App />, document.getElementById('app')!);
