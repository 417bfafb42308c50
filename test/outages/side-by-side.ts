/** Does work in order, so much of it at the same time. */
export function sideBySide<T, R>(work: readonly T[], width: number, begin: (one: T) => Promise<R>): Promise<R>[] {
  const done: Promise<R>[] = [];
  for (const [at, one] of work.entries()) {
    const turn = at < width ? Promise.resolve() : done[at - width]!.then(noop, noop);
    done.push(turn.then(() => begin(one)));
    // Whoever asks for it hears of an error.
    done[at]!.catch(noop);
  }
  return done;
}

function noop(): void {}
