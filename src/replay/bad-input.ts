/** Something in a file that is not what it must be. */
export class BadInput extends Error {
  constructor(
    readonly file: string,
    /** Counted from 1. */
    readonly line: number,
    /** What was found, and what was expected. */
    readonly problem: string,
  ) {
    super(`${file}:${line}: ${problem}`);
  }
}
