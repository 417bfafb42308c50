// Shares and times as people read them.
/** A share, 0 to 1, as people read it. */
export function formatPercent(share: number): string {
  return `${Number((share * 100).toFixed(1))} %`;
}

export function formatSeconds(ms: number): string {
  return ms < 1_000 ? `${Math.ceil(ms)} ms` : `${Number((ms / 1_000).toFixed(1))} s`;
}
