/** A mean, and the half of its interval of 95 %. */
export interface Interval {
  readonly mean: number;
  readonly half: number;
}

// Of Student's distribution, two-sided, by degrees of freedom.
const T_95 = [NaN, 12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13];

// The share of values that is left out at each end: what is usual.
const TRIMMED = 0.2;

/**
 * The mean of the values in the middle, with its interval (Tukey and McLaughlin 1963): a fifth at each end is left out of the
 * mean and counts in the interval as much as the value next to it. One set in which the machine was busy with something else
 * would otherwise decide. Of fewer than five values, none is left out.
 */
export function interval(values: readonly number[]): Interval {
  const sorted = [...values].sort((a, b) => a - b);
  const left = Math.floor(TRIMMED * sorted.length);
  const middle = sorted.slice(left, sorted.length - left);
  const n = middle.length;
  const lowest = middle[0]!;
  const highest = middle[n - 1]!;
  const pulledIn = sorted.map((value) => Math.min(Math.max(value, lowest), highest));
  const centre = mean(pulledIn);
  const squares = pulledIn.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  const t = T_95[n - 1] ?? 2.1;
  return { mean: mean(middle), half: n < 2 ? NaN : t * Math.sqrt(squares / (n * (n - 1))) };
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** `1.23 ± 0.10`. */
export function formatInterval({ mean, half }: Interval, digits: number): string {
  return `${mean.toFixed(digits).replace('-', '−')} ± ${half.toFixed(digits)}`;
}
