// As http-server.cjs, over HTTP/2.
'use strict';

const serve = require('../fixtures/http2-server.cjs');

void serve(Number(process.argv[2])).then(() => process.send('listening'));
