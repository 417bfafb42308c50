// A transport of nodemailer with its defaults.
'use strict';

const nodemailer = require('nodemailer');

const transport = nodemailer.createTransport(process.env.OUTAGE_URL);

exports.call = () => transport.sendMail({ from: 'us@example.com', to: 'you@example.com', text: 'Hello' });
