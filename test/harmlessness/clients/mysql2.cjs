'use strict';
const mysql = require('mysql2/promise');

module.exports = async () => {
  const config = JSON.parse(process.env.MYSQL_CONFIG);
  const connection = await mysql.createConnection(config);
  connection.on('error', () => {});
  const pool = mysql.createPool({ ...config, connectionLimit: 2 });
  await pool.query('SELECT 1');

  const text = ([rows]) => JSON.stringify(rows);
  const streamed = () =>
    new Promise((resolve, reject) => {
      const rows = [];
      connection.connection
        .query('SELECT 1 AS one')
        .on('error', reject)
        .on('result', (row) => rows.push(row))
        .on('end', () => resolve(JSON.stringify(rows)));
    });
  const unconnected = async () => {
    const lost = mysql.createPool({ ...config, port: Number(process.env.DEAD_PORT) });
    return lost.query('SELECT 1').finally(() => lost.end());
  };

  const onConnectionOfItsOwn = async () => {
    const own = await mysql.createConnection(config);
    const answer = text(await own.query('SELECT 1 AS one'));
    own.destroy();
    return answer;
  };

  return {
    calls: [
      { name: 'a query', call: async () => text(await connection.query('SELECT 1 AS one')) },
      { name: 'a prepared statement', call: async () => text(await connection.execute('SELECT ? AS one', [1])) },
      { name: 'an error of the server', call: () => connection.query('SELEC 1') },
      { name: 'a statement that cannot be prepared', call: () => connection.execute('SELEC 1') },
      { name: 'rows one by one', call: streamed },
      { name: 'a pool', call: async () => text(await pool.query('SELECT 1 AS one')) },
      {
        name: 'a transaction',
        call: async () => {
          await connection.beginTransaction();
          await connection.query('SELECT 1');
          await connection.rollback();
          return 'done';
        },
      },
      {
        name: 'a connection of its own',
        call: async () => {
          const own = await mysql.createConnection(config);
          await own.end();
          return 'ended';
        },
      },
      {
        name: 'a connection that is destroyed',
        call: async () => {
          const own = await mysql.createConnection(config);
          own.connection.query('SELECT SLEEP(1)', () => {});
          own.destroy();
          return 'gone';
        },
      },
      { name: 'no connection', call: unconnected },
      { name: 'an open circuit', call: async () => text(await connection.query('SELECT 1 AS one')), open: true },
      {
        name: 'a prepared statement and an open circuit',
        call: async () => text(await connection.execute('SELECT ? AS one', [1])),
        open: true,
      },
      { name: 'a new connection and an open circuit', call: onConnectionOfItsOwn, open: true },
    ],
    end: async () => {
      connection.destroy();
      await pool.end();
    },
  };
};
