// P5. node fork.js FORKS: seconds from cluster.fork() to 'online', the median of so many, one after
// the other, the first one aside.
'use strict';

const cluster = require('node:cluster');

const forks = Number(process.argv[2]);

if (cluster.isPrimary) {
  const seconds = [];
  (function next() {
    const began = process.hrtime.bigint();
    const worker = cluster.fork();
    worker.once('online', () => {
      seconds.push(Number(process.hrtime.bigint() - began) / 1e9);
      worker.kill();
    });
    worker.once('exit', () => {
      if (seconds.length <= forks) return next();
      const sorted = seconds.slice(1).sort((a, b) => a - b);
      console.log(JSON.stringify(sorted[Math.floor(sorted.length / 2)]));
    });
  })();
} else {
  setInterval(() => {}, 3600_000); // a worker with nothing to do would end
}
