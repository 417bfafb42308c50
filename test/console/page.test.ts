import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { fail, openCircuit, succeed } from '../support/breakers.js';
import { startChromium } from './chromium.js';
import { handleRequest, refuse, startService, type Service } from './service.js';

const PAYMENTS = 'https://payments.example.com';
const TOKEN = 'a-token-of-the-tests';

describe('console page', function () {
  // A busy machine takes its time to start a browser and to draw.
  this.timeout(120_000);
  let browser: Browser | undefined;
  let service: Service;
  let page: Page;
  /** Whatever the page asked for, and whatever it complained of. */
  let requests: string[];
  let complaints: string[];

  before(async () => {
    browser = await startChromium();
  });
  after(() => browser?.close());
  afterEach(async () => {
    await page.context().close();
    await service.stop();
  });

  async function open(options: Parameters<Browser['newPage']>[0] = {}, path = ''): Promise<void> {
    page = await browser!.newPage(options);
    page.setDefaultTimeout(60_000);
    requests = [];
    complaints = [];
    page.on('request', (request) => requests.push(request.url()));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(`${service.url}/${path}`);
    await page.getByText('live', { exact: true }).waitFor();
  }

  const rowOf = (name: string) =>
    page.getByRole('row').filter({ has: page.getByRole('button', { name, exact: true }) });

  it('says that circuits decide by themselves where their fleet cannot be reached', async () => {
    service = await startService();
    service.runtime.rules.configure({ fleet: { url: 'redis://127.0.0.1:1', namespace: 'shop', mode: 'enforce' } });
    service.runtime.joinFleet();
    for (const name of ['payments', 'stock']) service.breaker(name, { fleet: true });
    await open();
    await page.getByText('The fleet is not reached: 2 circuits decide by themselves.').waitFor();
  });

  it('shows a circuit that opens, without being loaded again', async () => {
    service = await startService();
    const breaker = service.breaker(PAYMENTS);
    succeed(breaker);
    await open();
    await rowOf(PAYMENTS).getByText('closed').waitFor();
    await page.evaluate('globalThis.stillTheSame = true');

    openCircuit(breaker);
    await rowOf(PAYMENTS).getByText('▲ open').waitFor();
    await rowOf(PAYMENTS)
      .getByText(/^in \d+ s$/)
      .waitFor();
    const timeline = page.getByRole('region', { name: 'Timeline' });
    await timeline.getByText('5 consecutive failures (threshold 5)').waitFor();
    expect(await page.title()).to.match(/^\(1 open\) /);
    await rowOf(PAYMENTS).getByText('5 consecutive failures (threshold 5)').waitFor();
    for (let call = 0; call < 3; call++) await breaker.call(refuse).catch(() => {});
    const sentence =
      /payments\.example\.com is open for \d+ s: 5 consecutive failures \(threshold 5\); 3 callers refused; next probe in \d+ s\.$/;
    await page.locator('[data-headline]', { hasText: sentence }).waitFor();

    breaker.reset();
    await rowOf(PAYMENTS).getByText('closed').waitFor();
    await timeline.getByText('reset by hand').waitFor();
    // Most callers of the last minute were not served, until many have been.
    await page.locator('[data-headline]', { hasText: /No circuit is open\. Of the last minute’s calls/ }).waitFor();
    for (let call = 0; call < 200; call++) succeed(breaker);
    await page.getByText('The circuit is closed.').waitFor();
    expect(await page.evaluate('globalThis.stillTheSame')).to.be.true;
    expect(complaints).to.deep.equal([]);
  });

  it('shows breakers that come and go, and their calls', async () => {
    service = await startService();
    await open();
    await page.getByText('No breakers yet').waitFor();
    const breaker = service.breaker(PAYMENTS);
    await rowOf(PAYMENTS).waitFor();
    await during(
      () => succeed(breaker),
      () =>
        rowOf(PAYMENTS)
          .getByText(/^[1-9][\d.]*\/s$/)
          .waitFor(),
    );
    expect(await rowOf(PAYMENTS).locator('.spark .all').getAttribute('d')).to.match(/^M\d/);
    service.runtime.registry.remove(PAYMENTS);
    await page.getByText('No breakers yet').waitFor();
  });

  it('asks nobody but this process for anything', async () => {
    service = await startService();
    openCircuit(service.breaker(PAYMENTS));
    await open();
    await rowOf(PAYMENTS).getByRole('button').click();
    await page.getByRole('dialog').locator('.u-over').waitFor();
    expect(requests.length).to.be.greaterThan(5);
    expect(requests.filter((url) => !url.startsWith(`${service.url}/`))).to.deep.equal([]);
    expect(complaints).to.deep.equal([]);
  });

  it('takes names for text, whatever is in them', async () => {
    service = await startService();
    const name = `<img src=x onerror="globalThis.taken=1"><script>globalThis.taken=2</script>\u2028"'`;
    openCircuit(service.breaker(name));
    await open();
    await page.getByRole('row').getByRole('button').click();
    await page.getByRole('dialog').getByText('5 consecutive failures').waitFor();
    expect(await page.getByRole('heading', { level: 2 }).last().textContent()).to.equal(name);
    expect(await page.evaluate(`'taken' in globalThis`)).to.be.false;
    expect(await page.locator('#app img:not(h1 img)').count()).to.equal(0);
  });

  it('leads from a rejected call to the one that opened the circuit', async () => {
    service = await startService();
    const breaker = service.breaker(PAYMENTS, { failureThreshold: 1 });
    await handleRequest(service, 'the one that opens', breaker, refuse);
    await handleRequest(service, 'the one rejected', breaker, refuse);
    await open();
    const traces = page.getByRole('region', { name: 'Traces' });
    await traces.getByRole('button', { name: /the one rejected.*rejected/ }).click();
    const waterfall = traces.getByRole('group');
    await waterfall.locator('.diamond.rejected').waitFor();
    expect(await waterfall.getByRole('listitem').count()).to.equal(2);
    await waterfall.getByRole('button', { name: 'Show the call that opened the circuit' }).click();
    await waterfall.locator('.diamond.open').waitFor();
    await waterfall.getByText(`${PAYMENTS}: closed → open`).waitFor();
    expect(await traces.locator('[aria-current=true]').textContent()).to.include('the one that opens');
    expect(new URL(page.url()).hash).to.match(/^#trace=[0-9a-f]{32}$/);

    // The timeline leads there, too.
    await traces.getByRole('button', { name: /the one rejected.*rejected/ }).click();
    await page.getByRole('region', { name: 'Timeline' }).getByRole('button', { name: 'trace' }).click();
    await waterfall.locator('.diamond.open').waitFor();

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      traces.getByRole('link', { name: 'Download OTLP' }).click(),
    ]);
    expect(download.suggestedFilename()).to.equal('otel-breaker-traces.json');
    expect(complaints).to.deep.equal([]);
  });

  it('shows a trace that comes while one looks', async () => {
    service = await startService();
    const breaker = service.breaker(PAYMENTS, { failureThreshold: 1 });
    await open();
    const traces = page.getByRole('region', { name: 'Traces' });
    await traces.getByText('No trace').waitFor();
    await handleRequest(service, 'POST /checkout', breaker, refuse);
    await traces.getByRole('button', { name: /POST \/checkout.*closed → open/ }).waitFor();
  });

  it('says that the connection is lost, and comes back', async () => {
    service = await startService();
    service.breaker(PAYMENTS);
    await open();
    const { port } = new URL(service.url);
    await service.stop();
    await page.getByText('connection lost, retrying').waitFor();
    await page.getByText(/last update \d+ s ago/).waitFor();
    await page.locator('.stale').waitFor();
    service = await startService({ OTEL_EXPORTER_PROMETHEUS_PORT: port });
    service.breaker('another');
    await page.getByText('live', { exact: true }).waitFor();
    await rowOf('another').waitFor();
    expect(await rowOf(PAYMENTS).count()).to.equal(0);
  });

  describe('by keyboard and screen reader', () => {
    it('has a way to everything without a mouse', async () => {
      service = await startService();
      const names = ['a', 'b', 'c', 'd'];
      for (const name of names) service.breaker(name);
      await open();
      await rowOf('d').waitFor();
      const focused = () => page.evaluate<string>(FOCUSED);

      await page.keyboard.press('Tab');
      expect(await focused()).to.equal('Skip to the breakers');
      await page.keyboard.press('Enter');
      expect(await page.evaluate(`document.activeElement.getAttribute('aria-label')`)).to.include('Search');
      // The list is one stop of the Tab key, however long it is.
      await page.keyboard.press('Tab');
      expect(await focused()).to.equal('a');
      const steps: readonly [key: string, name: string][] = [
        ['ArrowDown', 'b'],
        ['End', 'd'],
        ['ArrowDown', 'd'],
        ['ArrowUp', 'c'],
        ['Home', 'a'],
      ];
      for (const [key, name] of steps) {
        await page.keyboard.press(key);
        // The page is drawn before the focus moves.
        await shows(FOCUSED, name);
      }
      await page.keyboard.press('Enter');
      const dialog = page.getByRole('dialog', { name: 'a' });
      await dialog.waitFor();
      expect(await page.evaluate(`document.querySelector('dialog').contains(document.activeElement)`)).to.be.true;
      await page.keyboard.press('Escape');
      await dialog.waitFor({ state: 'detached' });
      expect(await focused()).to.equal('a');
    });

    it('has names and roles for what it shows', async () => {
      service = await startService();
      openCircuit(service.breaker(PAYMENTS));
      await open();
      await rowOf(PAYMENTS).waitFor();
      for (const name of ['Breakers', 'Timeline', 'Traces']) {
        expect(await page.getByRole('region', { name }).count(), name).to.equal(1);
      }
      const table = page.getByRole('table', { name: 'Breakers' });
      expect(await table.getByRole('columnheader').allTextContents()).to.include.members(['Breaker', 'State', 'Calls']);
      expect(await rowOf(PAYMENTS).getByRole('cell').count()).to.equal(await table.getByRole('columnheader').count());
      const unnamed = await page.evaluate(
        `[...document.querySelectorAll('button, a, input')].filter(
          (element) => !(element.textContent.trim() || element.getAttribute('aria-label') || element.closest('label')),
        ).length`,
      );
      expect(unnamed).to.equal(0);
      expect(await page.getByRole('heading', { level: 1 }).count()).to.equal(1);
      expect(await page.locator('html').getAttribute('lang')).to.equal('en');
    });

    it('says what changes, and not what has changed before', async () => {
      service = await startService();
      openCircuit(service.breaker('before'));
      const breaker = service.breaker(PAYMENTS);
      await open();
      await rowOf('before').waitFor();
      const announcer = page.locator('[data-announcer]');
      expect(await announcer.getAttribute('aria-live')).to.equal('polite');
      expect(await announcer.textContent()).to.equal('');
      openCircuit(breaker);
      await announcer.getByText(`${PAYMENTS} is open: 5 consecutive failures (threshold 5)`).waitFor();
    });
  });

  it('filters by name and by state', async () => {
    service = await startService();
    openCircuit(service.breaker(PAYMENTS));
    service.breaker('redis://cache:6379');
    await open();
    await rowOf(PAYMENTS).waitFor();
    const rows = page.getByRole('rowgroup').getByRole('row');
    expect(await rows.count()).to.equal(2);
    // Open circuits stand first, whenever they were made.
    expect(await rows.first().textContent()).to.include(PAYMENTS);
    await page.getByRole('button', { name: '1 closed' }).click();
    await rowOf(PAYMENTS).waitFor({ state: 'detached' });
    expect(await rows.count()).to.equal(1);
    await page.getByRole('button', { name: '1 closed' }).click();
    await page.getByRole('searchbox', { name: 'Search breakers' }).fill('PAYM');
    await rowOf('redis://cache:6379').waitFor({ state: 'detached' });
    expect(await rows.count()).to.equal(1);
  });

  it('sorts and groups the list as one chooses, and arrow keys follow', async () => {
    service = await startService();
    const zeta = service.breaker('zeta');
    openCircuit(zeta);
    for (let call = 0; call < 2; call++) await zeta.call(refuse).catch(() => {});
    const middle = service.breaker('middle');
    const alpha = service.breaker('alpha');
    succeed(middle);
    fail(middle);
    alpha.labels = middle.labels = { system: 'http' };
    await open();
    await rowOf('alpha').waitFor();
    const names = (...wanted: string[]) => shows(textsOf('[data-row]'), wanted.join());
    await names('zeta', 'alpha', 'middle');
    const sortBy = page.getByLabel('Sort by');
    await sortBy.selectOption('name');
    await names('alpha', 'middle', 'zeta');
    await sortBy.selectOption('share not served');
    await names('zeta', 'middle', 'alpha');
    await sortBy.selectOption('rejected');
    await names('zeta', 'alpha', 'middle');
    await during(
      () => {
        succeed(alpha);
        succeed(middle, 3);
      },
      async () => {
        await sortBy.selectOption('calls');
        await names('middle', 'alpha', 'zeta');
      },
    );
    await sortBy.selectOption('p95');
    await names('alpha', 'middle', 'zeta');

    await page.getByLabel('Group by').selectOption('system');
    await shows(textsOf('h3.group'), 'http (2),made in code (1)');
    await page.getByRole('button', { name: 'middle', exact: true }).focus();
    await page.keyboard.press('ArrowDown');
    await shows(FOCUSED, 'zeta');
    await page.keyboard.press('Home');
    await shows(FOCUSED, 'alpha');
    expect(complaints).to.deep.equal([]);
  });

  it('shows of the timeline what one chooses', async () => {
    service = await startService();
    const payments = service.breaker('payments', { openDuration: 1, successThreshold: 1 });
    openCircuit(payments);
    while (payments.state !== 'closed') await payments.call(() => {}).catch(() => {});
    openCircuit(service.breaker('search'));
    await open();
    const timeline = page.getByRole('region', { name: 'Timeline' });
    await timeline.getByText('half-open').first().waitFor();
    await timeline.getByLabel('Show').selectOption('opened and closed');
    await timeline.getByText('half-open').first().waitFor({ state: 'detached' });
    expect(await timeline.getByRole('listitem').count()).to.equal(3);
    await timeline.getByRole('searchbox').fill('SEARCH');
    await timeline.getByText('payments').waitFor({ state: 'detached' });
    expect(await timeline.getByRole('listitem').count()).to.equal(1);
    await timeline.getByRole('searchbox').fill('');
    await timeline.getByLabel('Show').selectOption('done by hand');
    await timeline.getByText('Nothing of that kind.').waitFor();
  });

  it('shows everything about one breaker, at an address that can be sent to somebody', async () => {
    service = await startService();
    openCircuit(service.breaker(PAYMENTS, { preset: 'httpApi' }));
    await open({}, `#breaker=${encodeURIComponent(PAYMENTS)}`);
    const dialog = page.getByRole('dialog', { name: PAYMENTS });
    await dialog.getByRole('row', { name: /openDuration 30000 preset httpApi/ }).waitFor();
    await dialog.getByText('5 consecutive failures (threshold 5)').waitFor();
    expect(await dialog.getByText('Change it').count()).to.equal(0);
  });

  it('changes a circuit with the token and not without', async () => {
    service = await startService({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
    const breaker = service.breaker(PAYMENTS);
    await open();
    await rowOf(PAYMENTS).getByRole('button').click();
    const dialog = page.getByRole('dialog');
    const button = dialog.getByRole('button', { name: 'Open the circuit' });
    expect(await button.isDisabled()).to.be.true;
    await dialog.getByLabel('Token').fill('wrong');
    await button.click();
    // It asks first, and what for.
    const yes = dialog.getByRole('button', { name: /^Yes/ });
    expect([await yes.isDisabled(), breaker.state]).to.deep.equal([true, 'closed']);
    await dialog.getByLabel('Reason').fill('they asked for it');
    await yes.click();
    await dialog.getByText('The token was not accepted.').waitFor();
    expect(breaker.state).to.equal('closed');

    await dialog.getByLabel('Token').fill(TOKEN);
    await button.click();
    await yes.click();
    await dialog.getByText('opened by hand: they asked for it').first().waitFor();
    expect(breaker.state).to.equal('open');
    await dialog.getByRole('button', { name: 'Observe only' }).click();
    await dialog.getByLabel('Reason').fill('to look at it');
    await yes.click();
    await dialog.getByText('observe', { exact: true }).first().waitFor();
    expect(breaker.config.mode).to.equal('observe');
    const stored = await page.evaluate<string>(
      'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])',
    );
    expect(stored).not.to.include(TOKEN);
  });

  it('is light or dark as the system is, and readable in both', async () => {
    service = await startService();
    openCircuit(service.breaker(PAYMENTS));
    service.breaker('closed one', { mode: 'observe' });
    const grounds: string[] = [];
    for (const colorScheme of ['light', 'dark'] as const) {
      await open({ colorScheme });
      await rowOf(PAYMENTS).waitFor();
      grounds.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
      const { looked, poor } = await inPage<{ looked: number; poor: string[] }>('poor-contrasts.js');
      expect(looked).to.be.greaterThan(20);
      expect(poor, colorScheme).to.deep.equal([]);
      for (const distance of await inPage<number[]>('colours-for-deuteranopes.js')) {
        expect(distance, colorScheme).to.be.greaterThan(25);
      }
      if (colorScheme === 'light') await page.context().close();
    }
    expect(grounds[0]).not.to.equal(grounds[1]);
  });

  it('fits a phone', async () => {
    service = await startService();
    const breaker = service.breaker(`https://a-rather-long-name-of-a-service.${'example.'.repeat(6)}com`);
    await handleRequest(service, 'POST /checkout', breaker, refuse);
    openCircuit(breaker);
    await open({ viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
    await rowOf(breaker.name).waitFor();
    const tooWide = () => page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
    expect(await tooWide()).to.be.at.most(0);
    await rowOf(breaker.name).getByRole('button').tap();
    await page.getByRole('dialog').locator('.u-over').waitFor();
    expect(await tooWide()).to.be.at.most(0);
  });

  it('shows on the smallest phone when a circuit is probed, and nothing over it', async () => {
    service = await startService();
    const breaker = service.breaker('search', { failureThreshold: 9, openDuration: 1 });
    succeed(breaker);
    openCircuit(breaker);
    await open({ viewport: { width: 320, height: 600 }, isMobile: true, hasTouch: true });
    const probe = rowOf('search').getByText('with the next call');
    await probe.waitFor();
    const box = (await probe.boundingBox())!;
    const at = `${box.x + 2}, ${box.y + box.height / 2}`;
    const seen = await page.evaluate<string>(`document.elementFromPoint(${at}).textContent`);
    expect(seen).to.equal('with the next call');
  });

  it('draws what can be seen, touches what changes there, and answers meanwhile, with 500 breakers', async () => {
    service = await startService();
    const breakers = Array.from({ length: 500 }, (_, index) => service.breaker(`https://service-${index}.example.com`));
    await open({ viewport: { width: 1280, height: 900 } });
    await page.getByRole('button', { name: '500 closed' }).waitFor();
    const rows = page.getByRole('rowgroup').getByRole('row');
    const drawn = await rows.count();
    expect(drawn).to.be.within(10, 60);
    await inPage('watch-work.js');
    // By name, these are the first.
    const busy = [0, 1, 10, 100, 101].map((index) => breakers[index]!);
    await during(
      () => busy.forEach((breaker) => succeed(breaker)),
      () => page.evaluate('globalThis.work.touches(5)'),
    );
    await during(
      () => breakers.forEach((breaker) => succeed(breaker)),
      async () => {
        await page.evaluate(`globalThis.work.touches(${drawn})`);
        // Under load all over, a filter still does what is typed, and the last one is a key away.
        await rows.first().getByRole('button').focus();
        await page.keyboard.press('End');
        await shows(FOCUSED, breakers[99]!.name);
        await page.getByRole('searchbox', { name: 'Search breakers' }).fill('service-77.');
        await rowOf(breakers[99]!.name).waitFor({ state: 'detached' });
      },
    );
    expect(await rows.count()).to.equal(1);
    expect(complaints).to.deep.equal([]);
  });

  /** Waits until an expression has a value in the page, whose policy forbids Playwright's own way to wait for one. */
  async function shows(expression: string, value: string): Promise<void> {
    while ((await page.evaluate(expression)) !== value) await sleep(20);
  }

  function inPage<T>(script: string): Promise<T> {
    return page.evaluate<T>(readFileSync(join(__dirname, 'in-page', script), 'utf8'));
  }
});

const FOCUSED = 'document.activeElement.textContent';

/** An expression: the texts of all elements, between commas. */
function textsOf(selector: string): string {
  return `Array.from(document.querySelectorAll('${selector}'), ({ textContent }) => textContent).join()`;
}

/** Calls go on until something has happened. */
async function during(calls: () => void, happens: () => Promise<unknown>): Promise<void> {
  const traffic = setInterval(calls, 20);
  try {
    await happens();
  } finally {
    clearInterval(traffic);
  }
}
