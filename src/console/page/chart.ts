import uPlot from 'uplot';
import { BUCKET_MS, BUCKETS } from '../api.js';
import type { Bucket } from '../live-store.js';

const HEIGHT = 150;

/** Calls per second by outcome. The lines differ in colour and in their dashes, so that nobody has to tell colours apart. */
export class CallsPlot {
  readonly #plot: uPlot;
  readonly #place: HTMLElement;
  readonly #resized: ResizeObserver;

  constructor(place: HTMLElement) {
    this.#place = place;
    const colour = (name: string) => getComputedStyle(place).getPropertyValue(name).trim();
    const line = { stroke: colour('--line'), width: 1 };
    const axis = { stroke: colour('--quiet'), grid: line, ticks: line };
    const series = (label: string, name: string, dash?: number[]): uPlot.Series => ({
      label,
      stroke: colour(name),
      width: 2,
      value: (_, value) => (value == null ? '–' : `${value.toFixed(1)}/s`),
      ...(dash && { dash }),
    });
    this.#plot = new uPlot(
      {
        width: Math.max(place.clientWidth, 100),
        height: HEIGHT,
        scales: { y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
        axes: [
          { ...axis, values: (_, splits) => splits.map((at) => timeOf(at, false)), space: 60 },
          { ...axis, size: 42 },
        ],
        series: [
          { label: 'at', value: (_, at) => (at == null ? '–' : timeOf(at, true)) },
          series('succeeded', '--line-succeeded'),
          series('failed', '--line-failed', [7, 3]),
          series('rejected', '--line-rejected', [2, 3]),
        ],
      },
      [[], [], [], []],
      place,
    );
    this.#resized = new ResizeObserver(() =>
      this.#plot.setSize({ width: Math.max(this.#place.clientWidth, 100), height: HEIGHT }),
    );
    this.#resized.observe(place);
  }

  draw(past: readonly Bucket[], now: number): void {
    const last = Math.floor(now / BUCKET_MS);
    const missing = BUCKETS - past.length;
    const perSecond = (value: (bucket: Bucket) => number): (number | null)[] => [
      ...Array<null>(missing).fill(null),
      // Of the bucket that is not over yet, so far.
      ...past.map((bucket, index) => {
        const seconds = index === past.length - 1 ? Math.max((now % BUCKET_MS) / 1_000, 1) : BUCKET_MS / 1_000;
        return value(bucket) / seconds;
      }),
    ];
    this.#plot.setData([
      Array.from({ length: BUCKETS }, (_, index) => ((last - BUCKETS + 1 + index) * BUCKET_MS) / 1_000),
      perSecond(({ succeeded }) => succeeded),
      perSecond(({ failed }) => failed),
      perSecond(({ rejected }) => rejected),
    ]);
  }

  destroy(): void {
    this.#resized.disconnect();
    this.#plot.destroy();
  }
}

function timeOf(seconds: number, full: boolean): string {
  const time = new Date(seconds * 1_000).toLocaleTimeString([], { hour12: false });
  return full ? time : time.slice(0, 5);
}
