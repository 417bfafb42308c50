import { deferRejection } from '../src/breaker/pacing.js';
import { harmless } from './harmless.js';

/**
 * What a caller gets in the place of a call that is not made: a promise that is rejected once the event loop has turned.
 *
 * @param beforehand is called just before that
 */
export function refusedPromise(error: Error, beforehand: () => void = () => {}): Promise<never> {
  const tell = harmless('Rejecting a call failed', beforehand);
  let reject!: (reason: Error) => void;
  const refused = new Promise<never>((_, end) => (reject = end));
  // Not within the promise: what failed there would be what the caller gets.
  deferRejection(() => {
    tell();
    reject(error);
  });
  return refused;
}
