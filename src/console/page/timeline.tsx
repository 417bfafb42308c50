import { useState } from 'preact/hooks';
import type { TransitionView } from '../api.js';
import { isTurningPoint } from '../../telemetry/names.js';
import { Select } from './breakers.js';
import { drawnOnChange } from './drawn-on-change.js';
import { StateBadge } from './row.js';
import type { State } from '../live-store.js';
import { clock, day } from '../format.js';

const MAX_SHOWN = 100;

const KIND_WORDS = { all: 'everything', outages: 'opened and closed', hand: 'done by hand' } as const;
type Kind = keyof typeof KIND_WORDS;

interface Props {
  readonly state: State;
  readonly onOpen: (name: string, worker: string | null) => void;
  readonly onTrace: (traceId: string) => void;
}

/** What changed, and why; the newest first. */
export function Timeline({ state, onOpen, onTrace }: Props) {
  const [kind, setKind] = useState<Kind>('all');
  const [search, setSearch] = useState('');
  const traces = new Set(state.traces.map(({ traceId }) => traceId));
  const wanted = search.trim().toLowerCase();
  const shown = state.transitions
    .filter((transition) => isOfKind(transition, kind))
    .filter(({ name, worker, reason }) => `${name} ${worker ?? ''} ${reason}`.toLowerCase().includes(wanted))
    .slice(0, MAX_SHOWN);
  return (
    <section id="timeline" aria-labelledby="timeline-title" class="card">
      <div class="bar">
        <h2 id="timeline-title">Timeline</h2>
        {state.transitions.length > 0 && (
          <div class="tools">
            <Select label="Show" words={KIND_WORDS} value={kind} onChange={setKind} />
            <input
              type="search"
              placeholder="Filter"
              aria-label="Filter the timeline by name or reason"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
          </div>
        )}
      </div>
      {shown.length === 0 ? (
        <p class="empty">
          {state.transitions.length === 0 ? 'No circuit has changed its state yet.' : 'Nothing of that kind.'}
        </p>
      ) : (
        <ol class="timeline">
          {shown.map((transition, index) => (
            <Entry
              key={transition.sequence}
              transition={transition}
              isFirstOfDay={index === 0 || day(shown[index - 1]!.at) !== day(transition.at)}
              hasTrace={transition.traceId !== null && traces.has(transition.traceId)}
              onOpen={onOpen}
              onTrace={onTrace}
            />
          ))}
        </ol>
      )}
    </section>
  );
}

interface EntryProps extends Pick<Props, 'onOpen' | 'onTrace'> {
  readonly transition: TransitionView;
  readonly isFirstOfDay: boolean;
  readonly hasTrace: boolean;
}

const Entry = drawnOnChange(({ transition, isFirstOfDay, hasTrace, onOpen, onTrace }: EntryProps) => {
  const { at, name, worker, to, reason, traceId } = transition;
  return (
    <li class={to}>
      {isFirstOfDay && <div class="day">{day(at)}</div>}
      <time dateTime={at} title={new Date(at).toLocaleString()}>
        {clock(at)}
      </time>
      <div>
        <button type="button" class="link" onClick={() => onOpen(name, worker)}>
          {name}
        </button>{' '}
        {worker !== null && <span class="tag">worker {worker}</span>} <StateBadge state={to} />
        <p>
          {reason}
          {traceId !== null && hasTrace && (
            <>
              {' · '}
              <button type="button" class="link" onClick={() => onTrace(traceId)}>
                trace
              </button>
            </>
          )}
        </p>
      </div>
    </li>
  );
});

/** Of an outage, its beginning and its end; probes that fail in between are left out. */
function isOfKind({ from, to, action }: TransitionView, kind: Kind): boolean {
  if (kind === 'hand') return action !== null;
  return kind === 'all' || isTurningPoint(from, to);
}
