// P6. node handles.js SOCKETS: connected sockets handed to a worker per second, one with each
// message; from the first send to the worker's word that it holds the last one.
'use strict';

const cluster = require('node:cluster');
const net = require('node:net');
const { Timed } = require('./processor.js');

const sockets = Number(process.argv[2]);

if (cluster.isPrimary) {
  const worker = cluster.fork();
  worker.once('online', () => connect((accepted) => {
    const timed = new Timed({ primary: process.pid, worker: worker.process.pid });
    timed.begin();
    accepted.forEach((socket, i) => worker.send({ i }, socket));
    worker.once('message', () => {
      timed.end();
      console.log(JSON.stringify(timed.rate(sockets)));
      process.exit();
    });
  }));
} else {
  const held = [];
  process.on('message', (_, socket) => {
    held.push(socket);
    if (held.length === sockets) process.send('all there');
  });
}

// Calls ready(the accepted ends) once as many connections as are needed stand. pauseOnConnect, as
// Node's documentation asks of sockets that go to another process.
function connect(ready) {
  const accepted = [];
  const server = net.createServer({ pauseOnConnect: true }, (socket) => {
    accepted.push(socket);
    if (accepted.length === sockets) ready(accepted);
    else next();
  }).listen(0, '127.0.0.1', next);
  function next() {
    net.connect(server.address().port, '127.0.0.1');
  }
}
