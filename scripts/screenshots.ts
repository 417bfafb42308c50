/** Takes the pictures of the documentation, of the real page in front of a service whose dependencies fail. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SpanKind } from '@opentelemetry/api';
import type { Locator, Page } from 'playwright-core';
import type { CircuitBreaker } from '../src/breaker/circuit-breaker.js';
import { startChromium } from '../test/console/chromium.js';
import { handleRequest, refuse, startService, type Service } from '../test/console/service.js';

const FOLDER = join(__dirname, '../docs/images');
const SECONDS = 45;
const MOST_BYTES = 60_000;

async function main(): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  process.env.OTEL_SERVICE_NAME = 'shop';
  const service = await startService();
  const browser = await startChromium();
  try {
    const desktop = { width: 1280, height: 860 };
    const [light, dark, phone] = await Promise.all(
      [
        { viewport: desktop, colorScheme: 'light' as const },
        { viewport: desktop, colorScheme: 'dark' as const },
        { viewport: { width: 390, height: 844 }, colorScheme: 'light' as const },
      ].map(async (options) => {
        const page = await browser.newPage({ ...options, reducedMotion: 'reduce' });
        await page.goto(service.url);
        return page;
      }),
    );
    void makeTraffic(service);
    await sleep(SECONDS * 1_000);
    await shoot(light!, 'console');
    await shoot(dark!, 'console-dark');
    await shoot(phone!, 'console-phone');

    const traces = light!.locator('#traces');
    await traces
      .getByRole('button', { name: /rejected/ })
      .first()
      .click();
    await light!.setViewportSize({ width: 1280, height: 1500 });
    await shoot(light!, 'trace', traces);
    await light!.setViewportSize(desktop);
    await light!.getByRole('button', { name: 'https://payments.example.com', exact: true }).first().click();
    await light!.locator('.u-over').waitFor();
    await shoot(light!, 'breaker');
  } finally {
    await browser.close();
    await service.stop();
  }
}

/** As WebP, as good as it gets within the size that a picture may have: they travel with the package. */
async function shoot(page: Page, name: string, part?: Locator): Promise<void> {
  const box = await part?.boundingBox();
  // A box is measured from the window's corner, a clip from the page's.
  const [left, top] = await page.evaluate<readonly [number, number]>('[scrollX, scrollY]');
  const clip = box && { ...box, x: box.x + left, y: box.y + top, scale: 1 };
  const session = await page.context().newCDPSession(page);
  for (let quality = 90; ; quality -= 5) {
    const { data } = await session.send('Page.captureScreenshot', {
      format: 'webp',
      quality,
      ...(clip && { clip, captureBeyondViewport: true }),
    });
    const picture = Buffer.from(data, 'base64');
    if (picture.length > MOST_BYTES && quality > 10) continue;
    writeFileSync(join(FOLDER, `${name}.webp`), picture);
    break;
  }
  await session.detach();
}

async function makeTraffic(service: Service): Promise<void> {
  const payments = service.breaker('https://payments.example.com', { openDuration: '14s' });
  const mail = service.breaker('https://mail.example.com', { openDuration: '6s', successThreshold: 3 });
  const search = service.breaker('https://search.example.com', { mode: 'observe', openDuration: '20s' });
  const stock = service.breaker('postgresql://db:5432/stock', { preset: 'database' });
  const steady = [
    service.breaker('postgresql://db:5432/orders', { preset: 'database' }),
    service.breaker('redis://cache:6379', { preset: 'cache' }),
    service.breaker('https://api.openai.com', { preset: 'llmService' }),
    service.breaker('https://rates.example.com'),
    service.breaker('http://stock.internal:8080'),
  ];
  const answer = (ms: number) => () => sleep(ms);
  // Until the process ends: the pictures are of a service at work.
  for (let tenth = 0; ; tenth++) {
    const second = tenth / 10;
    const calls = [
      checkOut(service, stock, payments, second > 22 ? () => sleep(6).then(refuse) : answer(8 + (tenth % 5))),
      ...steady.slice(0, 1 + (tenth % steady.length)).map((breaker) => breaker.call(answer(2 + (tenth % 7)))),
    ];
    if (tenth % 3 === 0) {
      calls.push(handleRequest(service, 'POST /sign-up', mail, second > 8 && second < 14 ? refuse : answer(20)));
    }
    if (tenth % 2 === 0) {
      calls.push(handleRequest(service, 'GET /products', search, second > 30 && tenth % 3 > 0 ? refuse : answer(14)));
    }
    await Promise.all([...calls, sleep(100)]);
  }
}

/** A request that looks into a database before it calls the service that fails. */
async function checkOut(
  service: Service,
  stock: CircuitBreaker,
  payments: CircuitBreaker,
  pay: () => Promise<unknown>,
): Promise<void> {
  const { tracer } = service;
  await tracer.startActiveSpan('POST /checkout', { kind: SpanKind.SERVER }, async (server) => {
    const attributes = { 'db.system.name': 'postgresql', 'server.address': 'db', 'server.port': 5432 };
    await tracer.startActiveSpan('SELECT stock', { kind: SpanKind.CLIENT, attributes }, async (query) => {
      await stock.call(() => sleep(4));
      query.end();
    });
    await handleRequest(service, 'charge', payments, pay, SpanKind.INTERNAL);
    await tracer.startActiveSpan('render', async (render) => {
      await sleep(2);
      render.end();
    });
    server.end();
  });
}

void main().then(() => process.exit());
