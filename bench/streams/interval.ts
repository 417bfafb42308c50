/** A mean, and the half of its interval of 95 %. */
export interface Interval {
  readonly mean: number;
  readonly half: number;
}

// Of Student's distribution, two-sided, by degrees of freedom.
const T_95 = [NaN, 12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.2, 2.18, 2.16, 2.14, 2.13];

export function interval(values: readonly number[]): Interval {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const t = T_95[n - 1] ?? 2.1;
  return { mean, half: n < 2 ? NaN : t * Math.sqrt(variance / n) };
}

/** `1.23 ± 0.10`. */
export function formatInterval({ mean, half }: Interval, digits: number): string {
  return `${mean.toFixed(digits).replace('-', '−')} ± ${half.toFixed(digits)}`;
}
