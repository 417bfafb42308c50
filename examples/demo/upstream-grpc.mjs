// As upstream.mjs, but a service of gRPC.
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { stock } from './stock.mjs';

const server = new Server();
server.addService(stock, { look: (_, done) => done(null, 'in stock') });
server.bindAsync(`127.0.0.1:${process.env.PORT ?? 0}`, ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
