// undici's request with its defaults.
'use strict';

const { request } = require('undici');

exports.call = async () => {
  const { body } = await request(process.env.OUTAGE_URL);
  await body.json();
};
