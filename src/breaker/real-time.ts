// Timers as Node gives them, taken when the first file of ours is loaded.

/**
 * Files that are loaded later would find those that an application's tests may have put in their place, which must hold nothing
 * of ours back.
 */
export const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, queueMicrotask } = globalThis;
