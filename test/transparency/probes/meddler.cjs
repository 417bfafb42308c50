// A preload that can be seen, in each of the ways that are looked for: without it, nobody knows that they are.
'use strict';

const { Agent } = require('node:http');

const { addRequest } = Agent.prototype;

Agent.prototype.addRequest = function (req, ...rest) {
  req.setHeader('x-meddled', '1');
  req.on('response', () => {});
  setTimeout(() => {}, 60_000).unref();
  globalThis.meddled = true;
  return Reflect.apply(addRequest, this, [req, ...rest]);
};

process.on('exit', () => (process.exitCode = 3));
