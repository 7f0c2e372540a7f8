// A numbered series of messages, sent to this worker's primary; and the clock at its other end.
'use strict';

const { Timed } = require('./processor.js');

const PAYLOAD = 'x'.repeat(64);
const BATCH = 100;

const senders = {
  // Waits for the channel after each batch. Of all batch sizes tried, Node is fastest with this one.
  paced(messages) {
    let i = 0;
    (function batch() {
      const end = Math.min(i + BATCH, messages) - 1;
      while (i < end) process.send({ i: i++, payload: PAYLOAD });
      process.send({ i: i++, payload: PAYLOAD }, i < messages ? batch : undefined);
    })();
  },

  // Just sends, as a program that counts on the channel to cope. Node queues all of it in memory.
  unpaced(messages) {
    for (let i = 0; i < messages; i++) process.send({ i, payload: PAYLOAD });
  },
};

function send(messages, pace) {
  senders[pace](messages);
}

// Calls done(messages per second, and what they cost these processes), from the first one's arrival to the last one's.
function stopwatch(messages, processes, done) {
  const timed = new Timed(processes);
  return ({ i }) => {
    if (i === 0) {
      timed.begin();
    } else if (i === messages - 1) {
      timed.end();
      done(timed.rate(messages - 1));
    }
  };
}

module.exports = { send, stopwatch };
