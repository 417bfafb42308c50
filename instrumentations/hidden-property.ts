/** A property that only its owner sees: not in `inspect`, not in comparisons, not in copies; as fast as a field. */
export interface HiddenProperty<T> {
  get(object: object): T | undefined;
  set(object: object, value: T): void;
}

export function hiddenProperty<T>(): HiddenProperty<T> {
  // A constructor that returns another object puts the private field of its subclass on that object.
  class Identity {
    constructor(object: object) {
      return object;
    }
  }
  class Slot extends Identity {
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
