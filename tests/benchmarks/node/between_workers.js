// P3. node between_workers.js MESSAGES paced|unpaced: messages per second, worker to worker. Node
// has no call for that: its programs forward in the primary, so this one does.
'use strict';

const cluster = require('node:cluster');
const { send, stopwatch } = require('./numbered.js');

const messages = Number(process.argv[2]);

if (cluster.isPrimary) {
  const receiver = cluster.fork({ ROLE: 'receiver' });
  receiver.once('online', () => {
    const sender = cluster.fork({ ROLE: 'sender' });
    receiver.send({ sender: sender.process.pid });
    sender.on('message', (message) => receiver.send(message));
    receiver.on('message', (rate) => {
      console.log(JSON.stringify(rate));
      sender.kill();
      receiver.kill();
    });
  });
} else if (process.env.ROLE === 'receiver') {
  process.once('message', ({ sender }) => {
    const processes = { primary: process.ppid, sender, receiver: process.pid };
    process.on('message', stopwatch(messages, processes, (rate) => process.send(rate)));
  });
} else {
  send(messages, process.argv[3]);
}
