import { StateBadge } from './row.js';
import type { State } from '../live-store.js';
import { clock } from '../format.js';

const MAX_SHOWN = 100;

/** What changed, and why; the newest first. */
export function Timeline({
  state,
  onOpen,
  onTrace,
}: {
  state: State;
  onOpen: (name: string) => void;
  onTrace: (traceId: string) => void;
}) {
  const traces = new Set(state.traces.map(({ traceId }) => traceId));
  return (
    <section id="timeline" aria-labelledby="timeline-title" class="card">
      <div class="bar">
        <h2 id="timeline-title">Timeline</h2>
      </div>
      {state.transitions.length === 0 ? (
        <p class="empty">No circuit has changed its state yet.</p>
      ) : (
        <ol class="timeline">
          {state.transitions.slice(0, MAX_SHOWN).map(({ sequence, at, name, to, reason, traceId }) => (
            <li key={sequence} class={to}>
              <time dateTime={at}>{clock(at)}</time>
              <div>
                <button type="button" class="link" onClick={() => onOpen(name)}>
                  {name}
                </button>{' '}
                <StateBadge state={to} />
                <p>
                  {reason}
                  {traceId !== null && traces.has(traceId) && (
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
          ))}
        </ol>
      )}
    </section>
  );
}
