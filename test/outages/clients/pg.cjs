// pg's pool with its defaults.
'use strict';

const { Pool } = require('pg');

const pool = new Pool({ connectionString: process.env.OUTAGE_URL });
// The pool replaces connections that are lost while they are idle.
pool.on('error', () => {});

exports.call = () => pool.query('SELECT 1');
