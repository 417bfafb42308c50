/** The part of pg-cursor that tests use; it has no types of its own. */
declare module 'pg-cursor' {
  import type { Submittable, Connection } from 'pg';
  class Cursor implements Submittable {
    constructor(text: string, values?: unknown[]);
    submit(connection: Connection): void;
    read(rows: number): Promise<unknown[]>;
    close(): Promise<void>;
    on(event: 'end' | 'error', listener: (argument: never) => void): this;
  }
  export = Cursor;
}
