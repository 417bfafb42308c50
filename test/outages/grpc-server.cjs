// As http-server.cjs, a service of gRPC.
'use strict';

const grpc = require('@grpc/grpc-js');
const { serve } = require('../fixtures/grpc/echo.cjs')(grpc);

void serve(Number(process.argv[2])).then(() => process.send('listening'));
