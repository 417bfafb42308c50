import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Browser } from 'playwright-core';
import { ROOT } from '../support/child.js';
import { startChromium } from './chromium.js';

describe('demo', function () {
  this.timeout(180_000);
  let browser: Browser | undefined;
  let demo: ChildProcess | undefined;
  after(async () => {
    await browser?.close();
    if (demo?.kill('SIGINT') === true) await once(demo, 'exit');
  });

  it('tells the address of a page that shows an open circuit, a rejected call and the call that opened it', async () => {
    demo = spawn(process.execPath, ['--require', 'tsx/cjs', join(ROOT, 'examples/demo/demo.ts')], {
      cwd: ROOT,
      env: { ...process.env, OTEL_EXPORTER_PROMETHEUS_PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [address, started] = await Promise.all([addressOfPage(demo), startChromium()]);
    browser = started;
    const page = await browser.newPage();
    page.setDefaultTimeout(120_000);
    await page.goto(address);
    await page.getByText('▲ open').first().waitFor();

    const traces = page.getByRole('region', { name: 'Traces' });
    await traces
      .getByRole('button', { name: /GET \/http.* rejected/ })
      .first()
      .click();
    // The request to the app, and the call of the app.
    const waterfall = traces.getByRole('group');
    expect(await waterfall.getByRole('listitem').count()).to.equal(2);
    await waterfall.locator('.diamond.rejected').waitFor();
    await waterfall.getByRole('button', { name: 'Show the call that opened the circuit' }).click();
    await waterfall.locator('.diamond.open').waitFor();
  });
});

async function addressOfPage({ stdout }: ChildProcess): Promise<string> {
  for await (const line of createInterface(stdout!)) {
    const address = /open (\S+) in a browser/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error('The demo ended before it told the address of its page.');
}
