/**
 * What the console's page costs the browser that shows it: 500 targets in front of a real service under the preload, each
 * called once a second, and a real Chromium. Run it on a machine that does nothing else: `npm run bench:page`.
 */
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CDPSession } from 'playwright-core';
import { startChromium } from '../test/console/chromium.js';
import { METRICS_ADDRESS, startApp } from '../test/support/app.js';
import { PRELOAD } from '../test/support/child.js';

const TARGETS = 500;
const WARM_UP_SECONDS = 10;
const SECONDS = 30;

/** Every tenth of a second, a tenth of the targets; one of fifty fails now and then. */
const SERVICE = `
  const { Agent, get } = require('node:http');
  const agent = new Agent({ keepAlive: true });
  const port = Number(process.env.TARGET_PORT);
  let tenth = 0;
  setInterval(() => {
    tenth++;
    for (let target = tenth % 10; target < ${TARGETS}; target += 10) {
      const fails = target % 50 === 0 && tenth % 300 > 200;
      const options = { agent, host: '127.0.' + (1 + (target >> 8)) + '.' + (target & 255), port, path: fails ? '/fails' : '/' };
      get(options, (answer) => answer.resume()).on('error', () => {});
    }
  }, 100);
`;

async function main(): Promise<void> {
  const server = createServer(({ url }, response) => {
    setTimeout(() => response.writeHead(url === '/fails' ? 503 : 200).end('x'), Math.random() * 10);
  });
  await once(server.listen(0), 'listening');
  const { port } = server.address() as AddressInfo;
  const app = startApp({
    nodeArgs: PRELOAD,
    program: { kind: 'commonjs', source: SERVICE },
    env: { OTEL_BREAKER_TRACES: 'local', TARGET_PORT: String(port) },
  });
  const [, address] = await app.prints('stderr', METRICS_ADDRESS);
  // What each page gets, counted apart: a browser that has to tell of its network is a slower one.
  let bytes = 0;
  const events = get(new URL('/events', address), (answer) =>
    answer.on('data', (piece: Buffer) => (bytes += piece.length)),
  );
  const browser = await startChromium();
  try {
    const processes = await browser.newBrowserCDPSession();
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await browser.newPage({ viewport: { width: 1440, height: 1000 }, colorScheme });
      await page.goto(new URL('/', address).href);
      await page.getByText('live', { exact: true }).waitFor();
      await sleep(WARM_UP_SECONDS * 1_000);
      const before = await cpuOf(processes);
      bytes = 0;
      const began = performance.now();
      await sleep(SECONDS * 1_000);
      const seconds = (performance.now() - began) / 1_000;
      const after = await cpuOf(processes);
      const share = (type: string) => (((after.get(type) ?? 0) - (before.get(type) ?? 0)) / seconds) * 100;
      const all = [...after.keys()].reduce((sum, type) => sum + share(type), 0);
      console.log(
        `${colorScheme}: ${(bytes / 1_000 / seconds).toFixed(1)} KB/s; page ${share('renderer').toFixed(1)} % of a core, ` +
          `all of Chromium ${all.toFixed(1)} %`,
      );
      await page.close();
    }
  } finally {
    events.destroy();
    await browser.close();
    await app.stop();
    server.close();
    server.closeAllConnections();
  }
}

/** Seconds of CPU so far, by the kind of process. */
async function cpuOf(session: CDPSession): Promise<Map<string, number>> {
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  const seconds = new Map<string, number>();
  for (const { type, cpuTime } of processInfo) seconds.set(type, (seconds.get(type) ?? 0) + cpuTime);
  return seconds;
}

void main();
