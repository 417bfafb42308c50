import { expect } from 'chai';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { stopApps } from '../support/app.js';
import { AttackedService } from './attacked-service.js';
import { measured } from './measured.js';

const MEGABYTES = 1024 * 1024;
// Machines are busy; the attacks kept the service for 7 to 60 seconds.
const NOT_LONG_MS = 3_000;

describe('hostile clients of the port of a service', () => {
  let service: AttackedService;

  afterEach(async () => {
    service.disconnect();
    await stopApps();
  });

  for (const path of ['/metrics', '/breakers']) {
    it(`cannot take it with 1,400 requests for ${path} in one packet that they never read the answers of`, async function () {
      this.timeout(120_000);
      service = await AttackedService.start({ breakers: 1_000, nodeArgs: ['--max-old-space-size=512'] });
      const { longest, grown } = await service.during(() => service.pipeline(path, 1_400));
      measured(this, `event loop held for ${longest} ms, ${Math.round(grown / MEGABYTES)} MB more`);
      expect(longest).to.be.below(NOT_LONG_MS);
      expect(grown).to.be.below(200 * MEGABYTES);
    });
  }

  it('cannot take it with 30 connections that ask for metrics again and again', async function () {
    this.timeout(120_000);
    service = await AttackedService.start({ breakers: 1_000 });
    let scrapes = 0;
    const { longest, grown } = await service.during(async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 30 });
      const scrape = () =>
        new Promise<void>((resolve, reject) => {
          get({ port: service.port, path: '/metrics', agent }, (response) => response.resume().on('end', resolve)).on(
            'error',
            reject,
          );
        });
      await Promise.all(
        Array.from({ length: 30 }, async () => {
          for (let time = 0; time < 10; time++) {
            await scrape();
            scrapes++;
          }
        }),
      );
      agent.destroy();
    });
    measured(this, `${scrapes} scrapes; event loop held for ${longest} ms, ${Math.round(grown / MEGABYTES)} MB more`);
    expect(scrapes).to.equal(300);
    expect(longest).to.be.below(NOT_LONG_MS);
  });

  it('cannot leave more with it than they take: a hundred connections that ask and never read', async function () {
    this.timeout(120_000);
    service = await AttackedService.start({ breakers: 500 });
    const { grown, longest } = await service.during(async () => {
      for (let some = 0; some < 10; some++) {
        for (let one = 0; one < 10; one++) service.askAndNeverRead();
        await service.text('/metrics');
      }
    });
    measured(this, `event loop held for ${longest} ms, ${Math.round(grown / MEGABYTES)} MB more`);
    expect(grown).to.be.below(150 * MEGABYTES);
  });

  it('cannot starve a scraper with 130 connections that say nothing', async function () {
    service = await AttackedService.start({ breakers: 1 });
    const silent = Array.from({ length: 130 }, () => service.open().resume());
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    for (let time = 0; time < 50; time++) expect(await service.text('/metrics')).to.contain('circuit_breaker_state');
    measured(this, '50 of 50 scrapes answered');
  });
});
