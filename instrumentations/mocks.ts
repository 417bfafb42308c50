import http = require('node:http');

// Of the function that `@mswjs/interceptors` from 0.45 on (nock 15, msw 3) puts in the place of `Agent.addRequest`: it keeps
// what it knows of a socket under this symbol.
const INTERCEPTING = /\bkPatched\b/;

const agents = http.Agent.prototype as unknown as { readonly addRequest: unknown };
let looked: unknown;
let intercepts = false;

/**
 * Whether a library for tests stands between all clients and the network just now, so that whatever answers may be a mock:
 * then no request is a call, also one that is let through, since that shows too late.
 */
export function isIntercepted(): boolean {
  const { addRequest } = agents;
  if (addRequest !== looked) {
    looked = addRequest;
    intercepts = typeof addRequest === 'function' && INTERCEPTING.test(Function.prototype.toString.call(addRequest));
  }
  return intercepts;
}

const AGENTS: ReadonlySet<string> = new Set(['MockAgent', 'MockHttpsAgent']);

/** Whether an agent of `node:http` is one by which older versions (nock 14, msw 2) do the same. */
export function isMockAgent(agent: object | undefined): boolean {
  return agent !== undefined && 'onRequest' in agent && AGENTS.has(agent.constructor.name);
}
