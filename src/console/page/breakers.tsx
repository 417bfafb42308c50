import { useEffect, useRef, useState } from 'preact/hooks';
import type { CircuitState } from '../../breaker/state.js';
import { BreakerRow } from './row.js';
import { useVisiblePart } from './visible-part.js';
import type { Row, State } from '../live-store.js';
import { count, STATE_SIGNS, STATE_WORDS } from '../format.js';
import { groupRows, sortRows, type Grouping, type Order } from '../row-order.js';

const STATES: readonly CircuitState[] = ['open', 'half_open', 'closed'];
const COLUMNS = ['Breaker', 'State', 'Next probe', 'Not served', 'Calls', 'Rejected', 'p95', 'Last 5 min'];

const ORDER_WORDS: Readonly<Record<Order, string>> = {
  state: 'state',
  name: 'name',
  unserved: 'share not served',
  calls: 'calls',
  rejected: 'rejected',
  p95: 'p95',
};
const GROUP_WORDS: Readonly<Record<Grouping, string>> = {
  none: 'nothing',
  system: 'system',
  target: 'target',
  worker: 'worker',
};

// As the style sheets have it: rows of one height are found without being drawn.
const NARROW = '(max-width: 46rem)';
const HEIGHTS = { wide: { row: 46, title: 34 }, narrow: { row: 122, title: 34 } } as const;

/** A line of the list: a breaker, or the title of those that follow. */
interface Line {
  readonly top: number;
  readonly height: number;
  readonly title: string;
  readonly row: Row | undefined;
  /** Which breaker it is, from 1. */
  readonly index: number;
}

interface Props {
  readonly state: State;
  readonly onOpen: (name: string, worker: string | null) => void;
}

export function Breakers({ state, onOpen }: Props) {
  const [search, setSearch] = useState('');
  const [only, setOnly] = useState<CircuitState>();
  const [order, setOrder] = useState<Order>('state');
  const [grouping, setGrouping] = useState<Grouping>('none');

  const sorted = sortRows(state.rows.values(), order, state.now);
  const wanted = search.trim().toLowerCase();
  const shown = sorted.filter(
    ({ view }) =>
      (only === undefined || view.state === only) && `${view.name} ${view.worker ?? ''}`.toLowerCase().includes(wanted),
  );

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
              {count(sorted.filter(({ view }) => view.state === circuit).length)} {STATE_WORDS[circuit]}
            </button>
          ))}
        </div>
        <div class="tools">
          <Select label="Sort by" words={ORDER_WORDS} value={order} onChange={setOrder} />
          <Select label="Group by" words={GROUP_WORDS} value={grouping} onChange={setGrouping} />
          <input
            type="search"
            placeholder="Search"
            aria-label="Search breakers by name or worker"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </div>
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
          <List rows={shown} grouping={grouping} now={state.now} onOpen={onOpen} />
        </div>
      )}
      {state.hidden > 0 && (
        <p class="note">
          {count(state.hidden)} more breakers are closed and too many to show. <a href="breakers">All, as JSON</a>
        </p>
      )}
    </section>
  );
}

const STEPS: Readonly<Record<string, number>> = {
  ArrowDown: 1,
  ArrowUp: -1,
  PageDown: 10,
  PageUp: -10,
  Home: -Infinity,
  End: Infinity,
};

interface ListProps {
  readonly rows: readonly Row[];
  readonly grouping: Grouping;
  readonly now: number;
  readonly onOpen: Props['onOpen'];
}

/** Only what can be seen is drawn: a service may have hundreds of breakers. */
function List({ rows, grouping, now, onOpen }: ListProps) {
  const list = useRef<HTMLDivElement>(null);
  const part = useVisiblePart(list);
  const heights = useHeights();
  const [current, setCurrent] = useState<number>();
  const wanted = useRef<number>(undefined);

  const lines = linesOf(rows, grouping, heights);
  const inOrder = lines.flatMap(({ row }) => (row === undefined ? [] : [row.id]));
  const tabbable = current !== undefined && inOrder.includes(current) ? current : inOrder[0];
  // The one that the Tab key reaches has to be there, wherever it is.
  const drawn = lines.filter(
    ({ top, height, row }) =>
      (top + height >= part.from && top <= part.to) || (row !== undefined && row.id === tabbable),
  );

  function move(event: KeyboardEvent) {
    const step = STEPS[event.key];
    if (step === undefined || !(event.target instanceof HTMLElement) || event.target.dataset.row === undefined) return;
    event.preventDefault();
    const from = inOrder.indexOf(Number(event.target.dataset.row));
    const to = inOrder[Math.min(Math.max(from + step, 0), inOrder.length - 1)]!;
    wanted.current = to;
    if (to === tabbable) focusWanted();
    setCurrent(to);
  }

  function focusWanted() {
    if (wanted.current === undefined) return;
    list.current?.querySelector<HTMLElement>(`[data-row="${wanted.current}"]`)?.focus();
    wanted.current = undefined;
  }
  useEffect(focusWanted, [current]);

  const last = lines.at(-1)!;
  return (
    <div role="rowgroup" class="body" onKeyDown={move}>
      <div class="lines" role="presentation" ref={list} style={{ blockSize: `${last.top + last.height}px` }}>
        {drawn.map(({ top, height, title, row, index }) => (
          <div
            key={row?.id ?? title}
            class="line"
            role="presentation"
            style={{ insetBlockStart: `${top}px`, blockSize: `${height}px` }}
          >
            {row === undefined ? (
              <h3 class="group">{title}</h3>
            ) : (
              <BreakerRow
                row={row}
                index={index}
                now={now}
                tabbable={row.id === tabbable}
                onOpen={(name, worker) => {
                  setCurrent(row.id);
                  onOpen(name, worker);
                }}
              />
            )}
          </div>
        ))}
      </div>
    </div>
  );
}

function linesOf(rows: readonly Row[], grouping: Grouping, heights: { row: number; title: number }): Line[] {
  const lines: Line[] = [];
  let top = 0;
  let index = 0;
  const add = (height: number, title: string, row: Row | undefined) => {
    lines.push({ top, height, title, row, index: row === undefined ? index : ++index });
    top += height;
  };
  for (const group of groupRows(rows, grouping)) {
    if (grouping !== 'none') add(heights.title, `${group.title} (${count(group.rows.length)})`, undefined);
    for (const row of group.rows) add(heights.row, '', row);
  }
  return lines;
}

function useHeights(): { row: number; title: number } {
  const query = matchMedia(NARROW);
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const look = () => setNarrow(query.matches);
    query.addEventListener('change', look);
    return () => query.removeEventListener('change', look);
  }, []);
  return narrow ? HEIGHTS.narrow : HEIGHTS.wide;
}

export function Select<T extends string>({
  label,
  words,
  value,
  onChange,
}: {
  label: string;
  words: Readonly<Record<T, string>>;
  value: T;
  onChange: (value: T) => void;
}) {
  return (
    <label class="select">
      {label}{' '}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value as T)}>
        {(Object.entries(words) as [T, string][]).map(([key, word]) => (
          <option key={key} value={key}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
}

function emptyWords({ loaded }: State, all: number): string {
  if (!loaded) return 'Connecting …';
  return all === 0 ? 'No breakers yet: one is made with the first call to each target.' : 'None of that kind.';
}
