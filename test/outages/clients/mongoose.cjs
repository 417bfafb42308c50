// mongoose with its defaults.
'use strict';

const mongoose = require('mongoose');

const Call = mongoose.model('Call', new mongoose.Schema({ name: String }), 'calls');

exports.start = () => mongoose.connect(process.env.OUTAGE_URL, { autoIndex: false, autoCreate: false });
exports.call = () => Call.findOne({ name: 'calls' });
