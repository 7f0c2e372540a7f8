// P9. node uneven.js WORKERS round_robin|shared: an HTTP server whose handler blocks its event loop for as many
// microseconds as the path says, sleeping, and answers with its pid. Prints {"port": n} when all workers listen, and
// ends when stdin is closed.
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');

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
  const never = new Int32Array(new SharedArrayBuffer(4));
  http.createServer((request, response) => {
    Atomics.wait(never, 0, 0, Number(request.url.slice(1)) / 1000);
    response.end(String(process.pid));
  }).listen(0, '127.0.0.1');
}
