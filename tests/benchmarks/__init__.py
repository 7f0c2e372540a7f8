"""How fast aiocluster is, as ratios to Node's cluster, nginx, ASGI servers and the kernel's own floor.

Run it as ``python -m tests.benchmarks [P1 P2 ...]`` or ``nox -s bench``.

The driver (this package's ``__main__``) only starts programs and does arithmetic. Whatever is
timed runs in processes of its own, one contender at a time, and each round lets every contender
have its turn: A B A B. So a ratio compares two figures taken seconds apart on the same machine.

    driver ──starts──▶ python -m tests.benchmarks.own_process p1_one_way:receive ──forks──▶ worker
           ──starts──▶ node node/one_way.js                                      ──forks──▶ worker
           ◀── one line of JSON from each
"""
