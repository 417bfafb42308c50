import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Random } from '../support/random.js';

const request = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;
const PATHS = ['/metrics', '/breakers', '/traces', '/traces/otlp', '/healthz', '/events', '/'] as const;
const LIFE_MS = 2_000;

/** Does at random to a port what strangers could, until it is told to stop. @returns how many attacks there were */
export async function attackPort(address: string, random: Random, isOver: () => boolean): Promise<number> {
  const port = Number(new URL(address).port);
  const sockets = new Set<Socket>();

  function open(bytes: string, reads = true): void {
    const socket = connect(port, '127.0.0.1');
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    if (bytes !== '') socket.write(bytes);
    if (reads) socket.resume();
    else socket.pause();
    setTimeout(() => socket.destroy(), LIFE_MS).unref();
  }

  const attacks = [
    () => open(request(random.pick(PATHS)).repeat(1_000), false),
    () => Array.from({ length: 60 }, () => open('')),
    () => Array.from({ length: 10 }, () => open(request(random.pick(PATHS)), false)),
    () => Array.from({ length: 10 }, () => open(request(random.pick(PATHS), 'Connection: close\r\n'))),
    () => open('GARBAGE\0\r\n\r\n'),
    () => open('GET /metrics HT'),
    () => open(request(`/breakers/${'%2e'.repeat(1_000)}`)),
    () => {
      const headers = `Authorization: Bearer wrong-${random.next()}\r\nContent-Length: 0\r\nConnection: close\r\n`;
      const text = request('/breakers/x/open', headers).replace('GET', 'POST');
      for (let time = 0; time < 20; time++) open(text);
    },
  ];
  let count = 0;
  while (!isOver()) {
    random.pick(attacks)();
    count++;
    await wait(random.below(200));
  }
  for (const socket of sockets) socket.destroy();
  return count;
}

/** A rules file that is written anew all the while, in good ways and in bad ones. */
export class RestlessRules {
  readonly #folder = mkdtempSync(join(tmpdir(), 'otel-breaker-soak-'));
  readonly path = join(this.#folder, 'conf', 'rules.yaml');

  constructor() {
    mkdirSync(join(this.#folder, 'conf'));
    writeFileSync(this.path, 'panicThreshold: 1\ndefaults: { openDuration: 20ms }\n');
  }

  async write(random: Random, isOver: () => boolean): Promise<number> {
    let count = 0;
    while (!isOver()) {
      this.#writeOnce(random);
      count++;
      await wait(100 + random.below(1_500));
    }
    return count;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }

  #writeOnce(random: Random): void {
    const threshold = 3 + random.below(5);
    const text = [
      // Eight servers that fail in turn are no panic here.
      'panicThreshold: 1',
      `defaults: { failureThreshold: ${threshold}, openDuration: ${20 + random.below(50)}ms }`,
      `rules: [{ match: { host: 127.0.0.1 }, mode: ${random.pick(['enforce', 'enforce', 'observe'])} }]`,
      '',
    ].join('\n');
    const way = random.below(5);
    if (way === 0) writeFileSync(this.path, text.slice(0, random.below(text.length)));
    else if (way === 1) writeFileSync(this.path, '${'.repeat(10_000));
    else if (way === 2) {
      const made = join(this.#folder, `new-${random.next()}`);
      mkdirSync(made);
      writeFileSync(join(made, 'rules.yaml'), text);
      renameSync(join(this.#folder, 'conf'), join(this.#folder, `old-${random.next()}`));
      renameSync(made, join(this.#folder, 'conf'));
    } else writeFileSync(this.path, text);
  }
}
