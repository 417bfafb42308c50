import { expect } from 'chai';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { startChromium } from '../console/chromium.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { replay } from './command.js';
import { otlpLines, outage } from './traces.js';

describe('the page of a replay', function () {
  this.timeout(120_000);
  let browser: Browser;
  before(async () => (browser = await startChromium()));
  after(async () => {
    await browser.close();
    removeTemporaryDirectories();
  });

  it('opens from disk, asks for nothing, and shows what the table shows', async () => {
    const folder = temporaryDirectory();
    const paths = { traces: '', rules: '', old: '', html: '' };
    for (const name of Object.keys(paths) as (keyof typeof paths)[]) paths[name] = join(folder, name);
    paths.html += '.html';
    // What a name could do to a page that took it for markup.
    const evil = { at: 30_000, host: 'evil.example.com', status: 503 };
    const name = '</script><img src=x onerror=alert(1)>';
    writeFileSync(paths.traces, otlpLines([...outage(5_000, 10_000, 20_000), evil]));
    writeFileSync(
      paths.rules,
      `defaults: { failureThreshold: 3, openDuration: 2s, initialOpenDuration: 2s }
rules: [{ match: { host: evil.example.com }, name: '${name}' }]
`,
    );
    writeFileSync(paths.old, 'defaults: { failureThreshold: 1000, failureRateThreshold: 1 }\n');
    const rules = ['--rules', paths.rules, '--against', paths.old, '--suggest'];
    const { code, stderr } = await replay([paths.traces, ...rules, '--html', paths.html]);
    expect(code, stderr).to.equal(0);
    expect(readFileSync(paths.html, 'utf8')).not.to.contain('<img src=x');

    const page = await browser.newPage({ viewport: { width: 1_200, height: 900 } });
    const requests: string[] = [];
    const complaints: string[] = [];
    page.on('request', (request) => requests.push(request.url()));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(pathToFileURL(paths.html).href);
    await page.getByRole('heading', { name: 'What these rules would have done' }).waitFor();
    const timeline = page.getByRole('img', {
      name: /^https:\/\/api\.example\.com: 200 calls, 50 failed, opened 1 times/,
    });
    expect(await timeline.count()).to.equal(1);
    const band = await timeline.locator('rect.band.open').first().boundingBox();
    expect(band!.width).to.be.greaterThan(50);
    expect(await page.getByRole('heading', { name, exact: true }).count()).to.equal(1);
    expect(await page.getByText('3 consecutive failures (threshold 3)').count()).to.equal(1);
    expect(await page.getByText('It would not have opened.').count()).to.be.greaterThan(0);
    expect(await page.getByRole('heading', { name: 'Suggestions' }).count()).to.equal(1);
    // Nothing is wider than a phone's screen, but for tables that scroll by themselves.
    await page.setViewportSize({ width: 360, height: 740 });
    const overflow = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
    expect(overflow).to.equal(0);
    expect(requests).to.deep.equal([pathToFileURL(paths.html).href]);
    expect(complaints).to.deep.equal([]);
    await page.close();
  });
});
