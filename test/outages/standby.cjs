// Becomes the server that its first argument names when it is told to: a process takes longer to start than the shortest
// outage lasts.
'use strict';

const [file] = process.argv.splice(2, 1);

process.once('message', () => require(file));
// Whoever ends the parent ends this as well.
process.on('disconnect', () => process.exit());
