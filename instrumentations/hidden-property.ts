/** A property that only its owner sees: not in `inspect`, not in comparisons, not in copies; as fast as a field. */
export interface HiddenProperty<T> {
  get(object: object): T | undefined;
  set(object: object, value: T): void;
}

/**
 * What a class extends whose private fields are to be on another object: its constructor returns that object. It extends
 * `null` so that nothing else is made: a class that extends nothing makes an object before its constructor runs.
 *
 * Where a call passes, such a class is written out rather than made by `hiddenProperty`, whose classes share their code, and so
 * what V8 learns of the objects that come by: with several kinds of them, a read is three times as slow.
 */
export class OnAnother extends null {
  constructor(object: object) {
    return object;
  }
}

export function hiddenProperty<T>(): HiddenProperty<T> {
  class Slot extends OnAnother {
    #value: T | undefined;

    static get(object: object): T | undefined {
      return #value in object ? object.#value : undefined;
    }

    static set(object: object, value: T): void {
      if (!(#value in object)) new Slot(object);
      (object as Slot).#value = value;
    }
  }
  return Slot;
}
