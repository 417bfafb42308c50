import { expect } from 'chai';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { LiveRules } from '../../src/rules/live-rules.js';

const rules = (count: number) =>
  ['rules:', ...Array.from({ length: count }, (_, index) => `  - match: { host: h${index} }\n    mode: off`), ''].join(
    '\n',
  );

describe('a rules file that is written in hostile ways', () => {
  let folder: string;
  let path: string;
  let live: LiveRules;
  let heard: string[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'otel-breaker-watching-'));
    mkdirSync(join(folder, 'conf'));
    path = join(folder, 'conf', 'rules.yaml');
    writeFileSync(path, rules(1));
    heard = [];
    live = new LiveRules(
      { mode: undefined, config: path, watch: true },
      {
        onReload: ({ config }) => heard.push(`${config.rules?.length ?? 0} rules`),
        onBadReload: (error) => heard.push((error as Error).message),
        onWatchFailed: () => heard.push('watch failed'),
        onRestless: () => heard.push('restless'),
      },
    );
    live.load();
  });

  afterEach(() => {
    live.stop();
    rmSync(folder, { recursive: true });
  });

  async function hears(count: number): Promise<void> {
    while (heard.length < count) await wait(10);
  }

  it('is read anew where its directory is replaced, or the one above', async () => {
    mkdirSync(join(folder, 'new'));
    writeFileSync(join(folder, 'new', 'rules.yaml'), rules(2));
    renameSync(join(folder, 'conf'), join(folder, 'old'));
    await wait(50);
    renameSync(join(folder, 'new'), join(folder, 'conf'));
    while (heard.at(-1) !== '2 rules') await wait(10);
    // Watched where it is now.
    writeFileSync(path, rules(3));
    while (heard.at(-1) !== '3 rules') await wait(10);
  });

  it('is not put in force by halves where it is written in parts', async () => {
    const text = rules(200);
    writeFileSync(path, '');
    const part = Math.ceil(text.length / 10);
    for (let from = 0; from < text.length; from += part) {
      appendFileSync(path, text.slice(from, from + part));
      await wait(20);
    }
    await hears(1);
    expect(heard).to.deep.equal(['200 rules']);
  });

  it('is read when it rests, and once, where it is written all the time', async () => {
    for (let time = 0; time < 50; time++) {
      writeFileSync(path, rules(2 + (time % 2)));
      await wait(20);
    }
    await hears(1);
    await wait(600);
    expect(heard).to.deep.equal(['3 rules']);
  });

  it('changes nothing where it is written anew as it was', async () => {
    for (let time = 0; time < 3; time++) {
      writeFileSync(path, rules(1));
      await wait(600);
    }
    writeFileSync(path, rules(2));
    await hears(1);
    expect(heard).to.deep.equal(['2 rules']);
  });

  it('keeps the rules before where a full disk cut it off after a block', async () => {
    writeFileSync(path, rules(1_000).slice(0, 8_192).replace(/\n$/, ' '));
    await hears(1);
    expect(heard[0]).to.contain('as where a disk was full');
    expect(live.file!.config.rules).to.have.length(1);
  });
});
