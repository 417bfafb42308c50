import type { TraceView } from '../api.js';
import type { State } from '../live-store.js';
import { breakerEvents, milliseconds, moment, STATE_SIGNS, titleOf, type BreakerEvent } from '../format.js';
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
  const trace = traces.find(({ traceId }) => traceId === selected) ?? traces[0];
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
                now={state.now}
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

function TraceItem({
  trace,
  now,
  current,
  onTrace,
}: {
  trace: TraceView;
  now: number;
  current: boolean;
  onTrace: (traceId: string) => void;
}) {
  const events = breakerEvents(trace);
  const first = events.find(({ kind }) => kind !== 'rejected') ?? events[0];
  return (
    <li>
      <button type="button" aria-current={current ? 'true' : undefined} onClick={() => onTrace(trace.traceId)}>
        <span class="when">{moment(trace.start, now)}</span> <span class="what">{titleOf(trace.spans[0]!)}</span>{' '}
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
}

function signOf({ kind }: BreakerEvent): string {
  return kind === 'rejected' ? '✕' : STATE_SIGNS[kind];
}
