// How clients are built, as code sees it that looks at prototypes, names and sources of functions.
'use strict';

const { createHash } = require('node:crypto');

// What all share: it is the language's and Node's own.
const SHARED = new Set([Object.prototype, Function.prototype, require('node:events').prototype, null]);
const DEEPEST = 6;

/** Every property that can be reached from some objects, by its path: kind, attributes, and of functions all that they tell. */
function shapeOf(roots) {
  const shape = {};
  const seen = new Set(SHARED);
  const visit = (object, path, depth) => {
    if (seen.has(object) || depth > DEEPEST) return;
    seen.add(object);
    for (const key of Reflect.ownKeys(object)) {
      const descriptor = Object.getOwnPropertyDescriptor(object, key);
      // Modules hand out some of their classes through getters; those of classes need an instance.
      const isExport = depth === 0 && descriptor.get !== undefined && /^[A-Z]/.test(String(key));
      const value = isExport ? object[key] : descriptor.value;
      const at = `${path}.${String(key)}`;
      shape[at] = describe(descriptor);
      // Instances, and what leads back.
      if (isObject(value) && !/^(?:globalAgent|constructor|default)$/.test(String(key))) visit(value, at, depth + 1);
    }
    const prototype = Object.getPrototypeOf(object);
    if (prototype !== null) visit(prototype, `${path}.__proto__`, depth + 1);
  };
  for (const [name, root] of Object.entries(roots)) visit(root, name, 0);
  return shape;
}

function describe({ value, get, set, writable, enumerable, configurable }) {
  const attributes = { writable, enumerable, configurable };
  if (get !== undefined || set !== undefined) return { kind: 'accessor', ...attributes };
  if (typeof value !== 'function') return { kind: typeof value, ...attributes };
  return {
    kind: 'function',
    ...attributes,
    name: value.name,
    length: value.length,
    keys: Reflect.ownKeys(value).map(String).sort(),
    source: createHash('sha1').update(Function.prototype.toString.call(value)).digest('hex').slice(0, 8),
  };
}

function isObject(value) {
  return typeof value === 'function' || (typeof value === 'object' && value !== null);
}

module.exports = { shapeOf };
