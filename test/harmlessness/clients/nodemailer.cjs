'use strict';
const nodemailer = require('nodemailer');
const SMTPConnection = require('nodemailer/lib/smtp-connection');
const { createServer } = require('node:net');
const { createInterface } = require('node:readline');

const MESSAGE = { from: 'us@example.com', to: 'you@example.com', text: 'Hello' };

module.exports = async () => {
  // One that greets at once: `smtp-server` waits a tenth of a second, and there are hundreds of messages.
  const server = createServer((socket) => {
    let isText = false;
    const say = (reply) => socket.write(`${reply}\r\n`);
    socket.on('error', () => {});
    say('220 hello');
    createInterface(socket).on('line', (line) => {
      const command = line.slice(0, 4).toUpperCase();
      if (isText && line !== '.') return;
      isText = command === 'DATA';
      if (isText) say('354 go on');
      else if (command === 'QUIT') socket.end('221 bye\r\n');
      else say(/^RCPT TO:<no@/.test(line) ? '550 no such user' : '250 ok');
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const to = { host: '127.0.0.1', port: server.address().port };

  const single = nodemailer.createTransport(to);
  const pool = nodemailer.createTransport({ ...to, pool: true, maxConnections: 1 });
  const dead = nodemailer.createTransport({ ...to, port: Number(process.env.DEAD_PORT) });
  await pool.sendMail(MESSAGE);

  const accepted = ({ accepted: to }) => to.join();
  const onConnection = () =>
    new Promise((resolve, reject) => {
      const connection = new SMTPConnection(to);
      connection.on('error', reject);
      connection.connect((error) => {
        if (error) return reject(error);
        connection.send({ from: MESSAGE.from, to: [MESSAGE.to] }, 'Hello', (failed, info) => {
          connection.close();
          if (failed) reject(failed);
          else resolve(accepted(info));
        });
      });
    });

  return {
    calls: [
      { name: 'a message', call: async () => accepted(await single.sendMail(MESSAGE)) },
      { name: 'a pool', call: async () => accepted(await pool.sendMail(MESSAGE)) },
      { name: 'a refused recipient', call: () => single.sendMail({ ...MESSAGE, to: 'no@example.com' }) },
      { name: 'a connection', call: onConnection },
      { name: 'no connection', call: () => dead.sendMail(MESSAGE) },
      { name: 'finding out', call: async () => String(await single.verify()) },
      { name: 'an open circuit', call: async () => accepted(await single.sendMail(MESSAGE)), open: true },
      { name: 'a pool and an open circuit', call: async () => accepted(await pool.sendMail(MESSAGE)), open: true },
      { name: 'a connection and an open circuit', call: onConnection, open: true },
    ],
    end: async () => {
      pool.close();
      server.close();
    },
  };
};
