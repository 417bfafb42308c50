import type { RuleSet } from '../rules/rule-set.js';
import { Circuits, type Recording } from './circuits.js';
import type { Lane } from './lane.js';
import type { Suggestion, Suggestions, TriedOptions } from './report.js';

/** The options that are tried, and the values of each. */
const GRID: Readonly<Record<keyof TriedOptions, readonly number[]>> = {
  failureThreshold: [3, 5, 10],
  failureRateThreshold: [0.25, 0.5, 0.75],
  minimumCalls: [5, 10, 20],
  openDuration: [10_000, 30_000, 60_000],
};

// More than anybody compares.
const MAX_SHOWN = 5;

/** Circuits for each way to set the four options together, to live through the same recording as those of the rules. */
export class Trials {
  readonly circuits: readonly Circuits[];
  readonly #options: readonly TriedOptions[] = combinations();

  constructor(recording: Recording, rules: RuleSet) {
    this.circuits = this.#options.map((override) => new Circuits(recording, rules, { override }));
  }

  /** @param asTheyAre what the rules themselves came to */
  best(asTheyAre: Circuits): Suggestions[] {
    const byName = this.circuits.map(({ lanes }) => new Map(lanes.map((lane) => [lane.name, lane])));
    return asTheyAre.lanes
      .filter(({ failed }) => failed > 0)
      .map((lane) => {
        const tried = this.#options.map((options, index) => suggestion(options, byName[index]!.get(lane.name)!));
        return { name: lane.name, best: unbeaten([suggestion(null, lane), ...tried]) };
      });
  }
}

function suggestion(options: TriedOptions | null, { opened, rejections }: Lane): Suggestion {
  return { options, opened, saved: rejections.failed, price: rejections.succeeded };
}

/** What no other beats on both counts; of equals the first, so that the rules as they are stay where they are as good. */
function unbeaten(all: readonly Suggestion[]): Suggestion[] {
  const cheapestFirst = all.toSorted((a, b) => a.price - b.price || b.saved - a.saved);
  const best: Suggestion[] = [];
  for (const one of cheapestFirst) if (one.saved > (best.at(-1)?.saved ?? -1)) best.push(one);
  return few(best);
}

/** The first, the last, and some between. */
function few(list: readonly Suggestion[]): Suggestion[] {
  if (list.length <= MAX_SHOWN) return [...list];
  return Array.from(
    { length: MAX_SHOWN },
    (_, index) => list[Math.round((index * (list.length - 1)) / (MAX_SHOWN - 1))]!,
  );
}

function combinations(): TriedOptions[] {
  let all: Partial<TriedOptions>[] = [{}];
  for (const [key, values] of Object.entries(GRID)) {
    all = all.flatMap((some) => values.map((value) => ({ ...some, [key]: value })));
  }
  return all as TriedOptions[];
}
