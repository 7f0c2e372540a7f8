// P2. node round_trip.js ROUND_TRIPS WARM_UP [CORE CORE]: seconds for a message to a worker and one
// back. Given two cores, the primary keeps to the first and the worker to the second.
'use strict';

const cluster = require('node:cluster');
const { execFileSync } = require('node:child_process');
const { Timed } = require('./processor.js');

const [roundTrips, warmUp, ...cores] = process.argv.slice(2).map(Number);

function keepTo(core) { // Node has no call for that
  if (core !== undefined) execFileSync('taskset', ['-pc', String(core), String(process.pid)]);
}

if (cluster.isPrimary) {
  const message = { i: 123456, payload: 'x'.repeat(64) };
  const worker = cluster.fork();
  let i = -warmUp;
  const timed = new Timed({ primary: process.pid, worker: worker.process.pid });
  worker.on('message', () => {
    if (i === 0) timed.begin();
    if (i++ < roundTrips) {
      worker.send(message);
    } else {
      timed.end();
      console.log(JSON.stringify(timed.duration(roundTrips)));
      worker.kill();
    }
  });
  worker.on('online', () => {
    keepTo(cores[0]);
    worker.send(message);
  });
} else {
  keepTo(cores[1]);
  process.on('message', (message) => process.send(message));
}
