import { useRef } from 'preact/hooks';
import type { TraceView } from '../api.js';
import { drawnOnChange } from './drawn-on-change.js';
import type { State } from '../live-store.js';
import { breakerEvents, day, milliseconds, moment, STATE_SIGNS, titleOf, type BreakerEvent } from '../format.js';
import { Waterfall } from './waterfall.js';

const MAX_SHOWN = 100;

/** The latest traces in which breakers did something, and one of them as a waterfall. */
export function Traces({
  state,
  selected,
  onTrace,
  onOpen,
}: {
  state: State;
  selected: string | undefined;
  onTrace: (traceId: string) => void;
  onOpen: (name: string, worker: string | null) => void;
}) {
  const { traces } = state;
  // Where none is selected, the first that was shown stays for as long as it is there: somebody may be reading it.
  const shown = useRef<string>(undefined);
  const find = (wanted: string | undefined) => traces.find(({ traceId }) => traceId === wanted);
  const trace = find(selected) ?? find(shown.current) ?? traces[0];
  shown.current = trace?.traceId;
  const today = day(new Date(state.now).toISOString());
  return (
    <section id="traces" aria-labelledby="traces-title" class="card">
      <div class="bar">
        <h2 id="traces-title">Traces</h2>
        {traces.length > 0 && (
          <a class="button" href="traces/otlp" download="otel-breaker-traces.json">
            Download OTLP
          </a>
        )}
      </div>
      {trace === undefined ? (
        <p class="empty">
          No trace with a breaker’s event yet.
          {state.loaded && !state.tracing && (
            <>
              {' '}
              Nobody makes traces in this process: start it with <code>OTEL_BREAKER_TRACES=local</code> to see them
              here.
            </>
          )}
        </p>
      ) : (
        <div class="traces">
          <ul aria-label="Latest traces" class="trace-list">
            {traces.slice(0, MAX_SHOWN).map((item) => (
              <TraceItem
                key={`${item.worker} ${item.traceId}`}
                trace={item}
                today={today}
                current={item === trace}
                onTrace={onTrace}
              />
            ))}
          </ul>
          <Waterfall trace={trace} known={traces} onTrace={onTrace} onOpen={onOpen} />
        </div>
      )}
    </section>
  );
}

interface ItemProps {
  readonly trace: TraceView;
  /** Times of other days are shown with it. */
  readonly today: string;
  readonly current: boolean;
  readonly onTrace: (traceId: string) => void;
}

const TraceItem = drawnOnChange(({ trace, today, current, onTrace }: ItemProps) => {
  const events = breakerEvents(trace);
  const first = events.find(({ kind }) => kind !== 'rejected') ?? events[0];
  return (
    <li>
      <button type="button" aria-current={current ? 'true' : undefined} onClick={() => onTrace(trace.traceId)}>
        <span class="when">{moment(trace.start, today)}</span> <span class="what">{titleOf(trace.spans[0]!)}</span>{' '}
        <span class="long">{milliseconds(trace.durationMs)}</span>
        {trace.worker !== null && <span class="tag">worker {trace.worker}</span>}
        {first !== undefined && (
          <span class={`sum ${first.kind}`}>
            <span aria-hidden="true">{signOf(first)}</span> {first.title}
            {events.length > 1 && `, ${events.length - 1} more`}
          </span>
        )}
      </button>
    </li>
  );
});

function signOf({ kind }: BreakerEvent): string {
  return kind === 'rejected' ? '✕' : STATE_SIGNS[kind];
}
