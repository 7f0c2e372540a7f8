// P1. node one_way.js MESSAGES paced|unpaced: messages per second, worker to primary.
'use strict';

const cluster = require('node:cluster');
const { send, stopwatch } = require('./numbered.js');

const messages = Number(process.argv[2]);

if (cluster.isPrimary) {
  const worker = cluster.fork();
  const processes = { primary: process.pid, worker: worker.process.pid };
  worker.on('message', stopwatch(messages, processes, (rate) => {
    console.log(JSON.stringify(rate));
    worker.kill();
  }));
} else {
  send(messages, process.argv[3]);
}
