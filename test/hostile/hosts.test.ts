import { expect } from 'chai';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import type { Permit } from '../../src/breaker/permit.js';
import { startService, type Service } from '../console/service.js';
import { collectGarbage } from '../support/memory.js';

describe('hosts without an end', () => {
  let service: Service;
  beforeEach(async () => (service = await startService()));
  afterEach(() => service.stop());

  function call(from: number, to: number): void {
    for (let index = from; index < to; index++) {
      const host = `h${index}.example.com`;
      const permit = service.runtime.guard.enter({ system: 'http', scheme: 'http', host, port: 80 }) as Permit;
      if (index % 7 === 0) permit.failure(new Error('down'));
      else permit.success();
    }
  }

  /** By a connection of its own: ten thousand calls later, the service may just be closing the one before. */
  async function scrape(): Promise<string> {
    const [response] = (await once(get(`${service.url}/metrics`, { agent: false }), 'response')) as [IncomingMessage];
    return Buffer.concat((await response.toArray()) as Buffer[]).toString();
  }

  async function heapAfterScrape(): Promise<number> {
    await scrape();
    // What fetch keeps of an answer goes with a finalizer, and so with the collection after the next.
    for (let time = 0; time < 3; time++) {
      collectGarbage();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return process.memoryUsage().heapUsed;
  }

  it('fill neither the heap nor the page of metrics, scraped all the while', async function () {
    this.timeout(0);
    const heaps: number[] = [];
    for (let some = 0; some < 10; some++) {
      call(some * 10_000, (some + 1) * 10_000);
      heaps.push(await heapAfterScrape());
    }
    // 60,000 hosts apart; their series would be some 150 MB. The lowest: an answer may still be on its way to the scraper.
    const lowest = (some: readonly number[]) => Math.min(...some);
    expect(lowest(heaps.slice(-4)) - lowest(heaps.slice(0, 4))).to.be.below(4_000_000);
    const page = await scrape();
    expect(page.match(/^circuit_breaker_state\{/gm)).to.have.length(1_000);
    expect(page).to.contain('h99999.example.com').and.not.to.contain('h0.example.com"');
  });
});
