import { useMemo, useState } from 'preact/hooks';
import type { CircuitState } from '../../breaker/state.js';
import { BreakerRow } from './row.js';
import { sortRows, type State } from '../live-store.js';
import { STATE_SIGNS, STATE_WORDS } from '../format.js';

const STATES: readonly CircuitState[] = ['open', 'half_open', 'closed'];
const COLUMNS = ['Breaker', 'State', 'Next probe', 'Failing', 'Calls', 'Rejected', 'Last minute'];

export function Breakers({ state, onOpen }: { state: State; onOpen: (name: string) => void }) {
  const [search, setSearch] = useState('');
  const [only, setOnly] = useState<CircuitState>();
  const [current, setCurrent] = useState('');

  const sorted = useMemo(() => sortRows(state.rows.values()), [state.rows]);
  const wanted = search.trim().toLowerCase();
  const shown = sorted.filter(
    ({ view }) => (only === undefined || view.state === only) && view.name.toLowerCase().includes(wanted),
  );
  const names = shown.map(({ view }) => view.name);
  const tabbable = names.includes(current) ? current : names[0];

  function move(event: KeyboardEvent) {
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: 10,
      PageUp: -10,
      Home: -Infinity,
      End: Infinity,
    };
    const step = steps[event.key];
    if (step === undefined || !(event.target instanceof HTMLElement) || event.target.dataset.row === undefined) return;
    event.preventDefault();
    const at = Math.min(Math.max(names.indexOf(event.target.dataset.row) + step, 0), names.length - 1);
    setCurrent(names[at]!);
    const list = event.currentTarget as HTMLElement;
    list.querySelector<HTMLElement>(`[data-row="${CSS.escape(names[at]!)}"]`)?.focus();
  }

  return (
    <section id="breakers" aria-labelledby="breakers-title" class="card">
      <div class="bar">
        <h2 id="breakers-title">Breakers</h2>
        <div class="chips" role="group" aria-label="Show only circuits that are">
          {STATES.map((circuit) => (
            <button
              key={circuit}
              type="button"
              class={`chip ${circuit}`}
              aria-pressed={only === circuit}
              onClick={() => setOnly(only === circuit ? undefined : circuit)}
            >
              <span aria-hidden="true">{STATE_SIGNS[circuit]}</span>{' '}
              {sorted.reduce((count, { view }) => count + (view.state === circuit ? 1 : 0), 0)} {STATE_WORDS[circuit]}
            </button>
          ))}
        </div>
        <input
          type="search"
          placeholder="Search"
          aria-label="Search breakers by name"
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
        />
      </div>
      {shown.length === 0 ? (
        <p class="empty">{emptyWords(state, sorted.length)}</p>
      ) : (
        <div role="table" aria-labelledby="breakers-title" aria-rowcount={shown.length + 1} class="table">
          <div role="row" class="row head">
            {COLUMNS.map((column) => (
              <div role="columnheader" key={column}>
                {column}
              </div>
            ))}
          </div>
          <div role="rowgroup" class="body" onKeyDown={move}>
            {shown.map((row) => (
              <BreakerRow
                key={row.view.name}
                row={row}
                now={state.now}
                tabbable={row.view.name === tabbable}
                onOpen={(name) => {
                  setCurrent(name);
                  onOpen(name);
                }}
              />
            ))}
          </div>
        </div>
      )}
    </section>
  );
}

function emptyWords({ loaded }: State, all: number): string {
  if (!loaded) return 'Connecting …';
  return all === 0 ? 'No breakers yet: one is made with the first call to each target.' : 'None of that kind.';
}
