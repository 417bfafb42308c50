import { accessSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium, type Browser } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** A real Chromium, without a window, with a profile of its own that is thrown away. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: findChromium(),
    // As root, in a container, without a network: what the tests of any of our machines need.
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

function findChromium(): string {
  const paths = (process.env.PATH ?? '').split(delimiter);
  for (const path of paths.flatMap((folder) => NAMES.map((name) => join(folder, name)))) {
    try {
      accessSync(path);
      return path;
    } catch {
      // Not this one.
    }
  }
  throw new Error('The tests of the page need Chromium. Install it: apt-get update && apt-get install -y chromium');
}
