// P1. node one_way.js MESSAGES paced|unpaced: messages per second, worker to primary.
'use strict';

const cluster = require('node:cluster');
const { send, stopwatch } = require('./numbered.js');

const messages = Number(process.argv[2]);

if (cluster.isPrimary) {
  const worker = cluster.fork();
  worker.on('message', stopwatch(messages, (rate) => {
    console.log(JSON.stringify(rate));
    worker.kill();
  }));
} else {
  send(messages, process.argv[3]);
}
