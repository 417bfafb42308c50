import { expect } from 'chai';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { needProgram } from '../support/programs.js';

/** What promtool says, and whether it was content. */
export function promtool(folder: string, ...args: string[]): { readonly ok: boolean; readonly output: string } {
  const { status, output } = runPromtool(args, { cwd: folder });
  return { ok: status === 0, output };
}

/** Fails where a page of metrics is nothing that Prometheus could read. */
export function expectMetrics(page: string): void {
  const { status, output } = runPromtool(['check', 'metrics'], { input: page });
  // 3: it parsed all of it, and has advice about names.
  expect(status, output).to.be.oneOf([0, 3]);
}

function runPromtool(args: readonly string[], options: { readonly cwd?: string; readonly input?: string }) {
  const { file, env } = needProgram('promtool');
  const { status, stdout, stderr, error } = spawnSync(file, args, { ...options, env, encoding: 'utf8' });
  if (error !== undefined) throw error;
  return { status, output: stdout + stderr };
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly endsAt: string;
}

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [time: number, value: string];
}

/** A real Prometheus, and what it would tell an Alertmanager. */
export interface Prometheus {
  /** Waits until an alert of that name, and with these labels, fires or is resolved. */
  alert(name: string, state: 'firing' | 'resolved', labels?: Readonly<Record<string, string>>): Promise<Alert>;
  /** All that was told so far, the oldest first. */
  readonly heard: readonly Alert[];
  /** The labels of each exemplar of a query. */
  exemplars(expr: string): Promise<Readonly<Record<string, string>>[]>;
  /** How many series a query gives. */
  count(expr: string): Promise<number>;
  /** The value of one series, by some of its labels. */
  value(expr: string, labels: Readonly<Record<string, string>>): Promise<number | undefined>;
  stop(): Promise<void>;
}

/**
 * Starts Prometheus on a port of its own choice.
 *
 * @param targets `host:port` of each instance to scrape
 * @param rules contents of rule files
 */
export async function startPrometheus(targets: readonly string[], rules: readonly string[]): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'otel-breaker-prometheus-'));
  const heard: Alert[] = [];
  const waiting = new Set<() => void>();
  const alertmanager = createServer((request, response) => {
    void text(request).then((body) => {
      heard.push(...(JSON.parse(body) as Alert[]));
      response.end();
      for (const look of waiting) look();
    });
  });
  await once(alertmanager.listen(0, '127.0.0.1'), 'listening');

  const files = rules.map((content, index) => {
    const file = `${index}.rules.yml`;
    writeFileSync(join(folder, file), content);
    return file;
  });
  const config = {
    // A busy machine takes its time for a scrape: one that is too late leaves a gap, and alerts begin to wait again.
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '500ms' },
    rule_files: files,
    alerting: {
      alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${(alertmanager.address() as AddressInfo).port}`] }] }],
    },
    scrape_configs: [{ job_name: 'shop', static_configs: [{ targets }] }],
  };
  // JSON is YAML.
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config));
  const { file, env } = needProgram('prometheus');
  const child = spawn(
    file,
    [
      '--config.file=prometheus.yml',
      '--storage.tsdb.path=data',
      '--web.listen-address=127.0.0.1:0',
      '--enable-feature=exemplar-storage',
    ],
    { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const address = await addressOf(child);
  // It listens before it has opened its data, and answers 503 until then.
  while (!(await fetch(`http://${address}/-/ready`)).ok) await sleep(50);
  const query = async (expr: string) => {
    const answer = await fetch(`http://${address}/api/v1/query`, {
      method: 'POST',
      body: new URLSearchParams({ query: expr }),
    });
    const { data, error } = (await answer.json()) as { data?: { result: Series[] }; error?: string };
    if (data === undefined) throw new Error(`${expr}: ${error}`);
    return data.result;
  };

  return {
    heard,
    exemplars: async (expr) => {
      const params = new URLSearchParams({
        query: expr,
        start: String(Date.now() / 1_000 - 300),
        end: String(Date.now() / 1_000),
      });
      const answer = await fetch(`http://${address}/api/v1/query_exemplars?${params.toString()}`);
      const { data } = (await answer.json()) as { data: { exemplars: { labels: Record<string, string> }[] }[] };
      return data.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels));
    },
    alert: (name, state, wanted = {}) =>
      new Promise((resolve) => {
        const look = () => {
          const found = heard.findLast(
            ({ labels }) =>
              labels.alertname === name && Object.entries(wanted).every(([key, value]) => labels[key] === value),
          );
          const resolved = found !== undefined && Date.parse(found.endsAt) <= Date.now();
          if (found === undefined || resolved !== (state === 'resolved')) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    count: async (expr) => (await query(expr)).length,
    value: async (expr, labels) => {
      const found = (await query(expr)).find(({ metric }) =>
        Object.entries(labels).every(([key, value]) => metric[key] === value),
      );
      return found === undefined ? undefined : Number(found.value[1]);
    },
    stop: async () => {
      child.kill();
      await once(child, 'exit');
      alertmanager.close();
      alertmanager.closeAllConnections();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines: string[] = [];
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`Prometheus ended:\n${lines.join('\n')}`)));
    createInterface(child.stderr!).on('line', (line) => {
      lines.push(line);
      const address = /msg="Listening on" address=(\S+)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
    });
  });
}
