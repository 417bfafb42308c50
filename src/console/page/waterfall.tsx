import { useEffect, useState } from 'preact/hooks';
import type { SpanView, TraceView } from '../api.js';
import { breakerEvent, milliseconds, textOf, titleOf } from '../format.js';

interface WaterfallProps {
  readonly trace: TraceView;
  readonly known: readonly TraceView[];
  readonly onTrace: (traceId: string) => void;
  readonly onOpen: (name: string, worker: string | null) => void;
}

export function Waterfall({ trace, known, onTrace, onOpen }: WaterfallProps) {
  const [spanId, setSpanId] = useState<string>();
  useEffect(() => setSpanId(undefined), [trace.traceId]);
  const lines = inTreeOrder(trace.spans);
  // Select the span with an event: people open a trace to see it.
  const span =
    trace.spans.find((candidate) => candidate.spanId === spanId) ??
    trace.spans.find(({ events }) => events.some((event) => breakerEvent(event) !== undefined)) ??
    trace.spans[0]!;
  const total = Math.max(trace.durationMs, 0.001);

  return (
    <div
      class="waterfall"
      role="group"
      aria-label={`Trace ${titleOf(trace.spans[0]!)}, ${milliseconds(trace.durationMs)}`}
    >
      <div class="scale" aria-hidden="true">
        {[0, 0.25, 0.5, 0.75, 1].map((part) => (
          <span key={part}>{milliseconds(total * part)}</span>
        ))}
      </div>
      <ol>
        {lines.map(({ item, depth }) => (
          <li key={item.spanId}>
            <button
              type="button"
              class="span"
              aria-pressed={item === span}
              aria-label={describe(item)}
              onClick={() => setSpanId(item.spanId)}
            >
              <span class="label" style={{ paddingInlineStart: `${Math.min(depth, 8) * 0.9}rem` }}>
                {item.failed && <span class="failed">!</span>} {titleOf(item)}
              </span>
              <span class="track">
                <span
                  class={`bar-of-time ${item.kind} ${item.failed ? 'failed' : ''}`}
                  style={{
                    insetInlineStart: `${(item.startMs / total) * 100}%`,
                    inlineSize: `max(2px, ${(item.durationMs / total) * 100}%)`,
                  }}
                />
                {item.events.map((event, index) => {
                  const ours = breakerEvent(event);
                  const at = { insetInlineStart: `${Math.min((event.atMs / total) * 100, 100)}%` };
                  return ours === undefined ? (
                    <span key={index} class="dot" style={at} title={event.name} />
                  ) : (
                    <span
                      key={index}
                      class={`diamond ${ours.kind}`}
                      style={at}
                      title={`${ours.title}: ${ours.reason}`}
                    />
                  );
                })}
              </span>
              <span class="long">{milliseconds(item.durationMs)}</span>
            </button>
          </li>
        ))}
      </ol>
      {trace.droppedSpans > 0 && <p class="note">{trace.droppedSpans} more spans were too many to keep.</p>}
      <SpanDetail span={span} trace={trace} known={known} onTrace={onTrace} onOpen={onOpen} />
    </div>
  );
}

function SpanDetail({ span, trace, known, onTrace, onOpen }: WaterfallProps & { readonly span: SpanView }) {
  return (
    <div class="span-detail" aria-live="off">
      <h3>{titleOf(span)}</h3>
      {span.events.map((event, index) => {
        const ours = breakerEvent(event);
        if (ours === undefined) return null;
        const { openedBy } = ours;
        const opener = known.find(({ traceId }) => traceId === openedBy?.traceId);
        return (
          <p key={index} class={`event ${ours.kind}`}>
            <strong>
              <span aria-hidden="true">◆</span> {ours.title}
            </strong>{' '}
            after {milliseconds(event.atMs)}: {ours.reason}
            {openedBy !== undefined && (
              <>
                {' '}
                {/* A trace that is not kept any more: the breaker's own changes of state tell why it opened. */}
                <button
                  type="button"
                  class="link"
                  onClick={() => (opener ? onTrace(opener.traceId) : onOpen(ours.breaker, trace.worker))}
                >
                  Show the call that opened the circuit
                </button>
                {opener === undefined && (
                  <>
                    {' '}
                    (trace <code>{openedBy.traceId}</code>)
                  </>
                )}
              </>
            )}
          </p>
        );
      })}
      <dl>
        {Object.entries(span.attributes).map(([key, value]) => (
          <div key={key}>
            <dt>{key}</dt>
            <dd>{textOf(value)}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function describe(span: SpanView): string {
  const events = span.events.map(breakerEvent).filter((event) => event !== undefined);
  return [
    `${titleOf(span)}, ${span.kind}, ${milliseconds(span.durationMs)}${span.failed ? ', failed' : ''}`,
    ...events.map(({ title, reason }) => `${title}: ${reason}`),
  ].join('. ');
}

/** Children under their parents, each generation in the order of its start. */
export function inTreeOrder(spans: readonly SpanView[]): { item: SpanView; depth: number }[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const children = new Map<string, SpanView[]>();
  for (const span of spans) {
    // A parent in another process, or one that was dropped, makes its child a root here.
    const parent = span.parentSpanId !== null && ids.has(span.parentSpanId) ? span.parentSpanId : '';
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [span]);
    else siblings.push(span);
  }
  const lines: { item: SpanView; depth: number }[] = [];
  const add = (parent: string, depth: number) => {
    for (const item of children.get(parent) ?? []) {
      lines.push({ item, depth });
      add(item.spanId, depth + 1);
    }
  };
  add('', 0);
  return lines;
}
