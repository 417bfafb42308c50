'use strict';

const { S3Client, GetObjectCommand } = require('@aws-sdk/client-s3');
const { NodeHttpHandler } = require('@smithy/node-http-handler');
const { timer, untilDone } = require('../caller.cjs');

const clients = new Map();

/** A service has one client for each of its endpoints. */
function clientOf(url, timeouts) {
  const key = url + JSON.stringify(timeouts);
  if (!clients.has(key)) {
    const client = new S3Client({
      endpoint: url,
      region: 'eu-central-1',
      forcePathStyle: true,
      credentials: { accessKeyId: 'id', secretAccessKey: 'key' },
      // One attempt each: what is looked at is the verdict on one.
      maxAttempts: 1,
      requestHandler: new NodeHttpHandler(timeouts),
    });
    clients.set(key, client);
  }
  return clients.get(key);
}

const open = async (url, timeouts = {}, options) => {
  const { Body } = await clientOf(url, timeouts).send(new GetObjectCommand({ Bucket: 'bucket', Key: 'key' }), options);
  return Body;
};
const get = async (url, timeouts, options) => (await open(url, timeouts, options)).transformToString();

const common = {
  get,
  cancel: (url, ms) => get(url, {}, { abortSignal: timer(ms) }),
  unread: async (url) => (await open(url)).destroy(),
  events: async (url) => {
    const body = await open(url);
    await untilDone(body);
    body.destroy();
  },
  mocks: ['nock', 'msw'],
};

module.exports = {
  'AWS SDK 3, socketTimeout': {
    ...common,
    giveUp: (url, ms) => get(url, { connectionTimeout: ms, socketTimeout: ms }),
  },
  'AWS SDK 3, requestTimeout': {
    ...common,
    giveUp: (url, ms) => get(url, { requestTimeout: ms, throwOnRequestTimeout: true }),
  },
  'AWS SDK 3, abortSignal': { ...common, giveUp: common.cancel },
};
