/** What became of the references to environment variables in a text. */
export interface Substitution {
  readonly text: string;
  /** Whether there was anything to put in. */
  readonly changed: boolean;
  /** What looks like a reference and is none. */
  readonly invalid?: string;
  /** The first variable that is neither set nor has a default. */
  readonly unset?: string;
}

// "$$" first: what it escapes is no reference. An unclosed "${" is caught too, to be told apart from a text that means it.
const REFERENCE = /\$\$|\$\{([^}\n]*)\}|\$\{/g;
const CONTENT = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/;

/**
 * Puts environment variables in, by the rules of OpenTelemetry's declarative configuration: `${NAME}`, `${env:NAME}`,
 * `${NAME:-default}`, `$$` for a dollar sign; once, never in what was put in. A variable that is empty counts as not set.
 */
export function substitute(source: string, env: NodeJS.ProcessEnv): Substitution {
  let changed = false;
  let invalid: string | undefined;
  let unset: string | undefined;
  const text = source.replace(REFERENCE, (reference, content: string | undefined) => {
    changed = true;
    if (reference === '$$') return '$';
    const [matched, name, otherwise] = CONTENT.exec(content ?? '') ?? [];
    if (matched === undefined) {
      invalid ??= reference;
      return reference;
    }
    const value = env[name!];
    if (value) return value;
    if (otherwise === undefined) unset ??= name;
    return otherwise ?? '';
  });
  return { text, changed, ...(invalid !== undefined && { invalid }), ...(unset !== undefined && { unset }) };
}
