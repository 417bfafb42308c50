// axios with its defaults.
'use strict';

const axios = require('axios');

exports.call = () => axios.get(process.env.OUTAGE_URL);
