'use strict';
// A service under the preload, with many breakers and a port of its own, that says how it fares when it is asked.
const { createServer } = require('node:http');
const { dirname, join } = require('node:path');
const { globalRegistry } = require('otel-breaker');
// Of whichever otel-breaker is found from here: this tree's, or one that is installed.
const { getRuntime } = require(join(dirname(require.resolve('otel-breaker/package.json')), 'dist/src/runtime.js'));

const { guard } = getRuntime();
for (let index = 0; index < Number(process.env.BREAKERS); index++) {
  const target = { system: 'http', scheme: 'https', host: `service-${index}.internal.example.com`, port: 443 };
  guard.enter(target).success();
  guard.enter(target).failure(new Error('down'));
}
setInterval(() => {}, 1_000);

let heap = 0;
// As an application that is busy with its own: a hundred times a second it wants the event loop.
let last = performance.now();
let longest = 0;
setInterval(() => {
  const now = performance.now();
  longest = Math.max(longest, now - last);
  last = now;
  heap = Math.max(heap, process.memoryUsage().rss);
}, 10);

const server = createServer((request, response) => {
  response.end(JSON.stringify({ longest: Math.round(longest), rss: heap, breakers: globalRegistry.size }));
  if (request.url !== '/begin') return;
  longest = 0;
  heap = process.memoryUsage().rss;
  last = performance.now();
}).listen(0, '127.0.0.1', () => console.log(`service at http://127.0.0.1:${server.address().port}`));
