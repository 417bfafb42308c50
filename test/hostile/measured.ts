import { appendFileSync } from 'node:fs';

/** Where the tests leave what they measured, for the table that `npm run hostile` makes. */
export const MEASURED_FILE = 'HOSTILE_MEASURED';

export interface Measured {
  readonly test: string;
  readonly text: string;
}

/** Notes what an attack came to, beside the test that made it. */
export function measured(context: Mocha.Context, text: string): void {
  const file = process.env[MEASURED_FILE];
  const { test } = context;
  if (file !== undefined && test !== undefined) {
    appendFileSync(file, `${JSON.stringify({ test: test.fullTitle(), text } satisfies Measured)}\n`);
  }
}
