import { useEffect, useRef } from 'preact/hooks';
import { recentCalls, type Row } from '../live-store.js';
import type { CallsPlot } from './chart.js';

/** Calls by outcome over the last minutes. The library that draws it is loaded on first use. */
export function CallsChart({ row, now }: { row: Row; now: number }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<CallsPlot>(undefined);
  const draw = () => chart.current?.draw(recentCalls(row, now), now);
  const latest = useRef(draw);
  latest.current = draw;

  useEffect(() => {
    let gone = false;
    void import('./chart.js').then(({ CallsPlot: Plot }) => {
      if (gone || place.current === null) return;
      chart.current = new Plot(place.current);
      latest.current();
    });
    return () => {
      gone = true;
      chart.current?.destroy();
      chart.current = undefined;
    };
  }, []);
  useEffect(draw, [row, now]);
  return (
    <div ref={place} class="chart" role="img" aria-label="Calls per second over the last five minutes, by outcome" />
  );
}
