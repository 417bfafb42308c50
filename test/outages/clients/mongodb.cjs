// mongodb with its defaults.
'use strict';

const { MongoClient } = require('mongodb');

const client = new MongoClient(process.env.OUTAGE_URL);
const calls = client.db('shop').collection('calls');

exports.start = () => client.connect();
exports.call = () => calls.updateOne({ name: 'calls' }, { $set: { seen: true } });
