import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';
import { findProgram, needProgram, type Program } from '../support/programs.js';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** A real Chromium, without a window, with a profile of its own that is thrown away. */
export function startChromium(): Promise<Browser> {
  const { file, env } = findChromium() ?? needProgram(...NAMES);
  return chromium.launch({
    executablePath: file,
    env: definedOf(env),
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

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** The system's, one out of the cache of this project, or the one that Playwright downloads when it is told to. */
export function findChromium(): Program | undefined {
  const program = findProgram(...NAMES);
  if (program !== undefined) return program;
  const file = chromium.executablePath();
  return existsSync(file) ? { file, env: process.env, root: '' } : undefined;
}
