import type { PresetName, WhenOpen } from '../breaker/options.js';

/** LLM SDKs reach their service through undici and would retry a thrown error; an answered 503 ends them at one attempt. */
const RESPONDS_TO_UNDICI: ReadonlySet<PresetName> = new Set(['llmService']);

/** What a rejected call gets: the option, or where it is not set, the preset's choice for that client. */
export function whenOpenFor(
  client: string,
  config: { readonly preset: PresetName; readonly whenOpen?: WhenOpen },
): WhenOpen {
  if (config.whenOpen !== undefined) return config.whenOpen;
  return client === 'undici' && RESPONDS_TO_UNDICI.has(config.preset) ? 'respond' : 'throw';
}

/** Whether a client that keeps calls in a queue of its own may go on doing so: by default, what it heals by itself stays healed. */
export function letsWaitWhenOpen({ whenOpen }: { readonly whenOpen?: WhenOpen }): boolean {
  return whenOpen !== 'throw';
}
