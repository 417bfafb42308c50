// A pool of mysql2 with its defaults.
'use strict';

const mysql = require('mysql2/promise');

const pool = mysql.createPool(process.env.OUTAGE_URL);

exports.call = () => pool.query('SELECT 1');
