/** The name and version of this package, as its package.json has them. */
export const PACKAGE = require('otel-breaker/package.json') as { readonly name: string; readonly version: string };
