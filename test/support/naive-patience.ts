const MINUTE = 60_000;

interface Wait {
  readonly from: number;
  readonly to: number;
}

/**
 * What time says of a caller that gave up, written down for reading and not for speed: it remembers every period, and
 * every wait since the last good answer.
 */
export class NaivePatience {
  readonly #periods: { readonly began: number; slowest: number | undefined }[] = [];
  #answeredAt = -Infinity;
  #waits: Wait[] = [];
  #lastEvidence = -Infinity;

  /** @param startedAt undefined where it is not known */
  answered(startedAt: number | undefined, at: number): void {
    const before = this.#periods.at(-1);
    if (before === undefined || at >= before.began + 5 * MINUTE) this.#periods.push({ began: at, slowest: undefined });
    const period = this.#periods.at(-1)!;
    if (startedAt !== undefined) period.slowest = Math.max(period.slowest ?? 0, at - startedAt);
    this.#answeredAt = at;
    this.#waits = [];
  }

  waited(from: number | undefined, to: number): void {
    // Who did not wait at all says nothing of any moment.
    if (from !== undefined && from < to) this.#waits.push({ from, to });
  }

  /** @returns what a caller that leaves now says, once its wait has been told */
  judge(startedAt: number | undefined, now: number, abandonedAfter: number): 'nothing' | 'rate only' | 'timeout' {
    if (startedAt === undefined || now - startedAt < abandonedAfter) return 'nothing';
    const waited = now - startedAt;
    const slowest = this.#slowest();
    const farLonger = slowest !== undefined && waited >= 3 * slowest;
    if (this.#answeredAt > startedAt) return farLonger ? 'rate only' : 'nothing';
    if (slowest !== undefined && waited <= slowest && this.silence() <= 10 * slowest) return 'nothing';
    if (now - this.#lastEvidence < 20 && !farLonger) return 'nothing';
    this.#lastEvidence = now;
    return 'timeout';
  }

  mayBeStarting(abandonedAfter: number): boolean {
    return this.#periods.length === 0 && this.silence() < 5 * abandonedAfter;
  }

  /** How long somebody has waited since the last good answer; each moment once. */
  silence(): number {
    let until = this.#answeredAt;
    let silence = 0;
    for (const { from, to } of this.#waits) {
      silence += Math.max(0, to - Math.max(from, until));
      until = Math.max(until, to);
    }
    return silence;
  }

  #slowest(): number | undefined {
    const recent = this.#periods.slice(-2).flatMap(({ slowest }) => slowest ?? []);
    return recent.length === 0 ? undefined : Math.max(...recent);
  }
}
