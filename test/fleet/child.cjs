// One of many processes that call the same target, five times a second.
const http = require('node:http');
const { globalRegistry } = require('otel-breaker');

const [url, rate] = process.argv.slice(2);
const seen = { ok: 0, failed: 0, rejected: 0, failedAt: [], states: [] };

/** Its breaker is there from the first call on. */
function follow() {
  const [breaker] = globalRegistry;
  if (breaker === undefined) setTimeout(follow, 50);
  else breaker.onTransition(({ to }) => seen.states.push([Date.now(), to]));
}

function call() {
  const request = http.get(url, { agent: false, timeout: 2_000 }, (response) => {
    response.resume();
    seen.ok++;
  });
  request.on('timeout', () => request.destroy(new Error('timeout')));
  request.on('error', (error) => {
    if (error.code === 'ERR_CIRCUIT_OPEN') seen.rejected++;
    else {
      seen.failed++;
      seen.failedAt.push(Date.now());
    }
  });
  setTimeout(call, (-Math.log(1 - Math.random()) * 1_000) / Number(rate));
}

setTimeout(call, Math.random() * 1_000);
follow();
process.on('message', (message) => {
  if (message === 'report') process.send({ ...seen, cpu: process.cpuUsage() });
});
process.on('disconnect', () => process.exit());
process.send('ready');
