/** What is looked at. The address holds it, so that it can be shared and the back button works. */
export interface Choice {
  readonly breaker: string | undefined;
  /** The worker that the breaker is in. */
  readonly worker: string | undefined;
  readonly trace: string | undefined;
}

export function readChoice(): Choice {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const get = (key: keyof Choice) => parameters.get(key) ?? undefined;
  return { breaker: get('breaker'), worker: get('worker'), trace: get('trace') };
}

export function writeChoice(choice: Partial<Choice>): void {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(choice)) if (value !== undefined) parameters.set(key, value);
  location.hash = parameters.toString();
}
