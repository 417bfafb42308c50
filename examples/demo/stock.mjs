// A service of gRPC with one method, as a tool would make it of a .proto file.
export const stock = {
  look: {
    path: '/shop.Stock/Look',
    requestStream: false,
    responseStream: false,
    requestSerialize: (text) => Buffer.from(text),
    requestDeserialize: String,
    responseSerialize: (text) => Buffer.from(text),
    responseDeserialize: String,
  },
};
