// Processor time for one operation, by the names of the processes that take part: {"primary": seconds}. Read from
// /proc, as Node only knows that of its own process; empty where there is none.
'use strict';

const { existsSync, readdirSync, readFileSync } = require('node:fs');

class Timed {
  // processes: {"primary": pid}
  constructor(processes) {
    this.processes = existsSync('/proc/self/schedstat') ? processes : {};
  }

  begin() {
    this.before = this.used();
    this.began = process.hrtime.bigint();
  }

  end() {
    this.seconds = Number(process.hrtime.bigint() - this.began) / 1e9;
    this.after = this.used();
  }

  rate(operations) {
    return { value: operations / this.seconds, cpu: this.ofEach(operations) };
  }

  duration(operations) {
    return { value: this.seconds / operations, cpu: this.ofEach(operations) };
  }

  ofEach(operations) {
    const each = ([name, used]) => [name, (used - this.before[name]) / operations];
    return Object.fromEntries(Object.entries(this.after).map(each));
  }

  used() {
    return Object.fromEntries(Object.entries(this.processes).map(([name, pid]) => [name, secondsUsed(pid)]));
  }
}

// Of all its threads; the first number is nanoseconds.
function secondsUsed(pid) {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e9)
    .reduce((a, b) => a + b);
}

module.exports = { Timed };
