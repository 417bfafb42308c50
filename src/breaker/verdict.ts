/**
 * What an error or an answer says of the target. A timeout becomes a failure, or ignored with `countTimeouts: false`;
 * `ignored` says nothing: the caller gave up, or its input was wrong.
 */
export type Verdict = 'success' | 'failure' | 'timeout' | 'ignored';
