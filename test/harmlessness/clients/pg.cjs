'use strict';
const pg = require('pg');

module.exports = async () => {
  const config = JSON.parse(process.env.PG_CONFIG);
  const client = new pg.Client(config);
  await client.connect();
  const pool = new pg.Pool({ ...config, max: 2, idleTimeoutMillis: 0 });
  await pool.query('SELECT 1');

  const rows = async (result) => JSON.stringify((await result).rows);
  return {
    calls: [
      { name: 'a statement', call: () => rows(client.query('SELECT 1 AS one')) },
      {
        name: 'a statement with a callback',
        call: () =>
          new Promise((resolve, reject) => {
            client.query('SELECT 2 AS two', (error, result) =>
              error ? reject(error) : resolve(JSON.stringify(result.rows)),
            );
          }),
      },
      { name: 'an error of the server', call: () => client.query('SELECT 1/0') },
      { name: 'a pool', call: () => rows(pool.query('SELECT 3 AS three')) },
      {
        name: 'a connection of its own',
        call: async () => {
          const own = new pg.Client(config);
          await own.connect();
          const result = await rows(own.query('SELECT 4 AS four'));
          await own.end();
          return result;
        },
      },
      {
        name: 'a transaction',
        call: async () => {
          await client.query('BEGIN');
          const result = await rows(client.query('SELECT 5 AS five'));
          await client.query('ROLLBACK');
          return result;
        },
      },
      { name: 'nobody there', call: () => new pg.Client({ ...config, port: Number(process.env.DEAD_PORT) }).connect() },
      { name: 'an open circuit', call: () => rows(client.query('SELECT 1 AS one')), open: true },
    ],
    end: () => Promise.all([client.end(), pool.end()]),
  };
};
