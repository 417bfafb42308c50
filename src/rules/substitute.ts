/** What became of the references to environment variables in a text. */
export interface Substitution {
  readonly text: string;
  /** Whether there was anything to put in. */
  readonly changed: boolean;
  /** The variables that it names, whether they are set or not. */
  readonly names: readonly string[];
  /** What looks like a reference and is not one. */
  readonly invalid?: string;
  /** The first variable that is neither set nor has a default. */
  readonly unset?: string;
}

const CONTENT = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/;
const SECRETS: ReadonlySet<string> = new Set([
  'KEY',
  'SECRET',
  'TOKEN',
  'PASSWORD',
  'PASSWD',
  'PASS',
  'CREDENTIAL',
  'CREDENTIALS',
  'PGPASSWORD',
]);

/** Whether a variable holds a secret, by the last word of its name: `STRIPE_API_KEY`, `DB_PASSWORD`. */
export function isSecretName(name: string): boolean {
  return SECRETS.has(name.slice(name.lastIndexOf('_') + 1).toUpperCase());
}

/**
 * Puts environment variables in, by the rules of OpenTelemetry's declarative configuration: `${NAME}`, `${env:NAME}`,
 * `${NAME:-default}`, `$$` for a dollar sign; once, never in what was put in. A variable that is empty counts as not set.
 *
 * Goes through the text once. An expression would look for the end of each `${` that has none, to the end of the text.
 */
export function substitute(source: string, env: NodeJS.ProcessEnv): Substitution {
  const names: string[] = [];
  let changed = false;
  let invalid: string | undefined;
  let unset: string | undefined;
  let text = '';
  let at = 0;
  const endOfLine = nextOf(source, '\n');
  const closing = nextOf(source, '}');
  for (let dollar = source.indexOf('$'); dollar >= 0; dollar = source.indexOf('$', at)) {
    text += source.slice(at, dollar);
    const next = source[dollar + 1];
    at = dollar + 2;
    if (next === '$') {
      changed = true;
      text += '$';
    } else if (next !== '{') {
      text += '$';
      at = dollar + 1;
    } else {
      changed = true;
      const end = closing(at);
      const closed = end < endOfLine(at);
      if (closed) at = end + 1;
      const [matched, name, otherwise] = (closed && CONTENT.exec(source.slice(dollar + 2, end))) || [];
      if (matched === undefined) {
        const reference = source.slice(dollar, at);
        invalid ??= reference;
        text += reference;
        continue;
      }
      names.push(name!);
      const value = env[name!] || otherwise;
      if (value === undefined) unset ??= name;
      text += value ?? '';
    }
  }
  text += source.slice(at);
  return { text, changed, names, ...(invalid !== undefined && { invalid }), ...(unset !== undefined && { unset }) };
}

/** Finds the next occurrence of a character from positions that only grow; Infinity where there is none. No part is read twice. */
function nextOf(source: string, character: string): (from: number) => number {
  let found = -1;
  return (from) => {
    if (found < from) {
      const next = source.indexOf(character, from);
      found = next < 0 ? Infinity : next;
    }
    return found;
  };
}
