// P7. node idle.js WORKERS: bytes (PSS) that a worker has which listens and has nothing to do.
'use strict';

const cluster = require('node:cluster');
const { readFileSync } = require('node:fs');
const net = require('node:net');

const workers = Number(process.argv[2]);

function proportionalShare(pid) {
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]) * 1024;
}

if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', () => {
    if (++listening < workers) return;
    const pids = Object.values(cluster.workers).map((worker) => worker.process.pid);
    console.log(JSON.stringify(pids.map(proportionalShare).reduce((a, b) => a + b) / workers));
    process.exit();
  });
  for (let i = 0; i < workers; i++) cluster.fork();
} else {
  net.createServer((socket) => socket.end()).listen(0, '127.0.0.1');
}
