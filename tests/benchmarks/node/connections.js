// P4. node connections.js WORKERS round_robin|shared: a server that answers with a few fixed bytes
// and closes. Prints {"port": n} when all workers listen, and ends when stdin is closed.
'use strict';

const cluster = require('node:cluster');
const net = require('node:net');

const RESPONSE = Buffer.from(
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');

const policies = { round_robin: cluster.SCHED_RR, shared: cluster.SCHED_NONE };

if (cluster.isPrimary) {
  let starting = Number(process.argv[2]);
  cluster.schedulingPolicy = policies[process.argv[3]];
  cluster.on('listening', (_, { port }) => {
    if (--starting === 0) console.log(JSON.stringify({ port }));
  });
  for (let i = starting; i > 0; i--) cluster.fork();
  process.stdin.on('end', () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill();
    process.exit();
  }).resume();
} else {
  net.createServer((socket) => {
    socket.on('data', () => socket.end(RESPONSE));
    socket.on('error', () => {}); // wrk resets what is open when its time is up
  }).listen(0, '127.0.0.1');
}
