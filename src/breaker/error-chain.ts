import { isObject, read, readText } from './values.js';

// Bounds, since nothing stops an error from being its own cause.
const MAX_DEPTH = 8;
const MAX_ERRORS = 64;

/**
 * Asks an error, then the errors that it is made of (`AggregateError`: one for each address of a host), then its cause.
 *
 * @param ask must not throw: read with `read`
 * @returns the first answer that is not `undefined`
 */
export function findInChain<T>(error: unknown, ask: (error: object) => T | undefined): T | undefined {
  return find(error, ask, { left: MAX_ERRORS }, MAX_DEPTH);
}

function find<T>(
  error: unknown,
  ask: (error: object) => T | undefined,
  errors: { left: number },
  depth: number,
): T | undefined {
  if (!isObject(error) || depth === 0 || errors.left-- === 0) return undefined;
  const own = ask(error);
  if (own !== undefined) return own;
  const parts = read(error, 'errors');
  if (Array.isArray(parts)) {
    for (let index = 0; index < parts.length && errors.left > 0; index++) {
      const found = find(read(parts, index), ask, errors, depth - 1);
      if (found !== undefined) return found;
    }
  }
  return find(read(error, 'cause'), ask, errors, depth - 1);
}

/** The name of an error, and that of its class: some, like those of openai, leave their name at `Error`. */
export function namesOf(error: object): readonly string[] {
  const constructor = read(error, 'constructor');
  return [readText(error, 'name'), isObject(constructor) ? readText(constructor, 'name') : ''];
}
