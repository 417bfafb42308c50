// Looking at `Response` loads the copy of undici within Node, which then makes a global dispatcher if there is none.
if (typeof globalThis.Response !== 'function') throw new Error('this Node has no fetch');
