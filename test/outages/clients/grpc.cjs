// A client of gRPC with its defaults.
'use strict';

const grpc = require('@grpc/grpc-js');
const { connect, ask } = require('../../fixtures/grpc/echo.cjs')(grpc);

const client = connect(new URL(process.env.OUTAGE_URL).host);

exports.call = () => ask(client);
