import uPlot from 'uplot';
import { HISTORY, type Rates } from '../live-store.js';

const HEIGHT = 150;

/** Calls per second by outcome, over the time that the page has watched. */
export class RateChart {
  readonly #plot: uPlot;
  readonly #place: HTMLElement;
  readonly #resized: ResizeObserver;

  constructor(place: HTMLElement) {
    this.#place = place;
    const colour = (name: string) => getComputedStyle(place).getPropertyValue(name).trim();
    const line = { stroke: colour('--line'), width: 1 };
    const axis = { stroke: colour('--quiet'), grid: line, ticks: line };
    const series = (label: string, name: string): uPlot.Series => ({
      label,
      stroke: colour(name),
      width: 2,
      value: (_, value) => (value == null ? '–' : `${value.toFixed(1)}/s`),
    });
    this.#plot = new uPlot(
      {
        width: Math.max(place.clientWidth, 100),
        height: HEIGHT,
        scales: { x: { time: false }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
        axes: [
          { ...axis, values: (_, splits) => splits.map((split) => `${split} s`) },
          { ...axis, size: 42 },
        ],
        series: [
          { label: 'seconds ago', value: (_, value) => (value == null ? '–' : String(-value)) },
          series('succeeded', '--closed'),
          series('failed', '--open'),
          series('rejected', '--half-open'),
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

  draw(rates: readonly Rates[]): void {
    const missing = HISTORY - rates.length;
    const column = (value: (rates: Rates) => number): (number | null)[] => [
      ...Array<null>(missing).fill(null),
      ...rates.map(value),
    ];
    this.#plot.setData([
      Array.from({ length: HISTORY }, (_, index) => index - HISTORY + 1),
      column(({ succeeded }) => succeeded),
      column(({ failed }) => failed),
      column(({ rejected }) => rejected),
    ]);
  }

  destroy(): void {
    this.#resized.disconnect();
    this.#plot.destroy();
  }
}
