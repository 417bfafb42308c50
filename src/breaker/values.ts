/** Whether a value can have properties of its own: an object or a function. */
export function isObject(value: unknown): value is object {
  return value !== null && (typeof value === 'object' || typeof value === 'function');
}

/** Whether a value is an object and no function. */
export function isNonCallable(value: unknown): value is object {
  return value !== null && typeof value === 'object';
}

/** Whether a value is a promise, or anything else with a `then`. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return isObject(value) && typeof (value as { then?: unknown }).then === 'function';
}

/** A property of something that we did not make; `undefined` where reading it throws. */
export function read(object: object, key: PropertyKey): unknown {
  try {
    return (object as Readonly<Record<PropertyKey, unknown>>)[key];
  } catch {
    return undefined;
  }
}

/** As `read`, for a string; empty where there is no string. */
export function readText(object: object, key: PropertyKey): string {
  const value = read(object, key);
  return typeof value === 'string' ? value : '';
}

/** The object, or the one of its prototypes, that has a property as its own; the object must have it. */
export function ownerOf<Key extends string, Owner extends Record<Key, unknown>>(object: Owner, key: Key): Owner {
  let owner = object;
  while (!Object.hasOwn(owner, key)) owner = Object.getPrototypeOf(owner) as Owner;
  return owner;
}
