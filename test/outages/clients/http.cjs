// node:http with an agent that keeps connections.
'use strict';

const http = require('node:http');

const agent = new http.Agent({ keepAlive: true });

exports.call = () =>
  new Promise((resolve, reject) => {
    http
      .get(process.env.OUTAGE_URL, { agent }, (response) => {
        response.on('error', reject).on('end', resolve).resume();
      })
      .on('error', reject);
  });
