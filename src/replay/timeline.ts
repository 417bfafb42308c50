import type { Permit } from '../breaker/permit.js';

/** Whoever lives through the recorded calls. */
export interface Player {
  /** @returns the permit of the call, to be settled at its end; nothing where the call has no end that matters */
  begin(now: number, durationMs: number, target: number, ending: number, longRunning: boolean): Permit | undefined;
  end(now: number, permit: Permit, ending: number): void;
}

/** A call that has begun and not ended. */
interface UnderWay {
  readonly endMs: number;
  readonly ending: number;
  /** One for each player. */
  readonly permits: readonly (Permit | undefined)[];
}

/** Moves the clock from call to call: begins them in their order, and ends each when its time has come. */
export class Timeline {
  // A heap: the first to end is at the top.
  readonly #underWay: UnderWay[] = [];

  constructor(private readonly players: readonly Player[]) {}

  begin(startMs: number, durationMs: number, target: number, ending: number, longRunning: boolean): void {
    this.#endUntil(startMs);
    const permits = this.players.map((player) => player.begin(startMs, durationMs, target, ending, longRunning));
    if (permits.some((permit) => permit !== undefined)) {
      push(this.#underWay, { endMs: startMs + durationMs, ending, permits });
    }
  }

  end(): void {
    this.#endUntil(Infinity);
  }

  #endUntil(now: number): void {
    for (let next = this.#underWay[0]; next !== undefined && next.endMs <= now; next = this.#underWay[0]) {
      pop(this.#underWay);
      for (let index = 0; index < next.permits.length; index++) {
        const permit = next.permits[index];
        if (permit !== undefined) this.players[index]!.end(next.endMs, permit, next.ending);
      }
    }
  }
}

function push(heap: UnderWay[], call: UnderWay): void {
  let place = heap.push(call) - 1;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    if (heap[parent]!.endMs <= call.endMs) break;
    heap[place] = heap[parent]!;
    place = parent;
  }
  heap[place] = call;
}

function pop(heap: UnderWay[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]!.endMs < heap[child]!.endMs) child++;
    if (heap[child]!.endMs >= last.endMs) break;
    heap[place] = heap[child]!;
    place = child;
  }
  heap[place] = last;
}
