"""What the tests have workers do, by `WorkerProcess.run`: each worker has a copy of this module.

It imports little, for it is part of each worker's start.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiocluster import current_worker
from aiocluster._wire import frames as kinds
from aiocluster._wire.codec import MAX_MESSAGE, encode, pack
from aiocluster._wire.windows import WINDOW
from aiocluster.events import Event


async def stay() -> None:
    """The workers' target."""
    await asyncio.get_running_loop().create_future()


# ---- hearing


class Ear:
    """The events of this worker as they came."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._more = asyncio.Event()

    def hear(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    async def hears(self, name: str, count: int) -> list[Any]:
        while len(found := [event for event in self.events if event.name == name]) < count:
            self._more.clear()
            await self._more.wait()
        return found[:count]


ear = Ear()
queues: list[AsyncIterator[Any]] = []
tasks: list[asyncio.Future[Any]] = []


async def hear(*names: Any) -> None:
    """Keeps the events of these names from now on; of `messages` it keeps all."""
    for name in names or ("message", "undelivered", "error"):
        current_worker().on(name, ear.hear)


async def heard_messages(count: int) -> list[Any]:
    """The first so many: their senders, what they say, and how many handles they have."""
    return [[event.sender, event.message, len(event.handles)] for event in await ear.hears("message", count)]


async def heard_numbers(count: int) -> list[Any]:
    """The first so many messages' numbers, as ``[n, filling]`` was sent."""
    return [event.message[0] for event in await ear.hears("message", count)]


async def heard_until(last: int) -> list[Any]:
    """The numbers of all messages until the last one came."""
    count = 1
    while (await heard_numbers(count))[-1] != last:
        count = max(count + 1, len(ear.events))
    return await heard_numbers(count)


async def heard_undelivered(count: int) -> list[Any]:
    return [[event.pid, event.message] for event in await ear.hears("undelivered", count)]


async def numbers_undelivered(last: int) -> list[int]:
    """The numbers of all messages that came back, until the last one did."""
    count = 1
    while (numbers := [message[0] for _, message in await heard_undelivered(count)])[-1] != last:
        count += 1
    return numbers


async def unconfirmed_is(pid: int, count: int) -> None:
    """Returns when that many frames to a worker are under way and unconfirmed."""
    send_window = current_worker()._session.peers[pid].send_window
    while len(send_window._under_way) != count:
        await asyncio.sleep(0.002)


async def waits_for(pid: int) -> None:
    """Returns when something waits for room in what is sent to a worker."""
    send_window = current_worker()._session.peers[pid].send_window
    while not send_window._queue.waiting:
        await asyncio.sleep(0.002)


async def heard_errors(count: int) -> list[str]:
    return [f"{type(event.error).__name__}: {event.error}" for event in await ear.hears("error", count)]


async def how_many(name: str) -> int:
    """How many events of that name were heard until now."""
    return sum(event.name == name for event in ear.events)


async def take_messages(count: int) -> list[Any]:
    """The next so many, by `Worker.messages`."""
    messages = current_worker().messages()
    taken = [await anext(messages) for _ in range(count)]
    messages.close()
    return taken


async def open_messages() -> None:
    queues.append(current_worker().messages())


class Slow:
    """An async handler of messages that waits for the gate to open, and a stream that is read on demand."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.stream: Any = None
        self.ended: list[Any] = []

    async def handle(self, event: Any) -> None:
        await self.gate.wait()
        self.ended.append(event.message)


slow = Slow()


async def receive_slowly(way: str) -> None:
    if way == "handler":
        current_worker().on("message", slow.handle)
    else:
        slow.stream = current_worker().events("message")


async def receive_the_rest(way: str, count: int) -> list[Any]:
    """Lets all handlers end, or takes so many events from the stream. Returns the numbers of these messages."""
    if way == "handler":
        slow.gate.set()
        while len(slow.ended) < count:
            await asyncio.sleep(0.002)
        return [message[0] for message in slow.ended[:count]]
    return [(await anext(slow.stream)).message[0] for _ in range(count)]


async def stop_receiving(way: str) -> None:
    if way == "close":
        slow.stream.close()
    elif way == "forget":
        slow.stream = None
        gc.collect()
    else:
        current_worker()._session.inbox.cancel()


async def open_gate_in(seconds: float) -> None:
    asyncio.get_running_loop().call_later(seconds, slow.gate.set)


async def next_messages(count: int) -> list[Any]:
    """The numbers of the next so many of what `open_messages` opened. The last one stays unconfirmed."""
    return [(await anext(queues[0]))[0] for _ in range(count)]


async def ask_about_each(count: int) -> list[Any]:
    """Asks the primary about each message before it takes the next one."""
    messages = current_worker().messages()
    return [await current_worker().request((await anext(messages))[0]) for _ in range(count)]


async def raise_at(number: int) -> None:
    """A handler of messages that raises at one of them."""

    def handle(event: Any) -> None:
        if event.message == number:
            raise ValueError(f"no {number} please")

    current_worker().on("message", handle)


async def raise_late_at(number: int) -> None:
    """An async one."""

    async def handle(event: Any) -> None:
        await asyncio.sleep(0)
        if event.message == number:
            raise ValueError(f"no {number} please")

    current_worker().on("message", handle)


# ---- saying


async def peers() -> list[int]:
    return sorted(current_worker().peers)


async def send(message: Any) -> None:
    await current_worker().send(message)


async def send_to(pid: Any, *messages: Any) -> None:
    for message in messages:
        await current_worker().send_to(pid, message)


async def send_numbers(pid: int, first: int, last: int, size: int = 0) -> None:
    """``[n, filling]`` for each n from the first up to, not including, the last."""
    worker, filling = current_worker(), b"x" * size
    for n in range(first, last):
        await worker.send_to(pid, [n, filling])


async def broadcast(*messages: Any) -> None:
    for message in messages:
        await current_worker().broadcast(message)


async def send_random(count: int) -> None:
    for n in range(count):
        await current_worker().send_random(n)


async def fill(pid: int, size: int = 100) -> int:
    """Sends numbers until the window is full. Returns how many were sent at once, and keeps one that waits."""
    worker, filling = current_worker(), b"x" * size
    sent = 0
    while True:
        task = asyncio.ensure_future(worker.send_to(pid, [sent, filling]))
        await asyncio.sleep(0)
        if not task.done():
            tasks.append(task)
            return sent
        task.result()
        sent += 1


async def how_it_ended(index: int = -1) -> str:
    """How a task that `fill` or `start` began has ended."""
    try:
        return f"returned {await tasks[index]!r}"
    except Exception as error:
        return type(error).__name__


async def send_and_cancel(pid: int, size: int) -> bool:
    """Sends a message of that size and cancels that while it waits. Says whether it was sent all the same."""
    task = asyncio.ensure_future(current_worker().send_to(pid, [-1, b"x" * size]))
    await asyncio.sleep(0)
    if task.done():
        return True
    task.cancel()
    await asyncio.wait([task])
    return False


async def flood(pid: int) -> None:
    """Sends all sorts of things, as much as goes, until it is cancelled."""
    worker = current_worker()

    async def small() -> None:
        while True:
            await worker.send_to(pid, {"n": 1, "payload": "x" * 64})

    async def large() -> None:
        while True:
            await worker.send_to(pid, b"x" * (20 * WINDOW))

    async def with_handles() -> None:
        while True:
            one, other = socket.socketpair()
            with one, other:
                await worker.send_to(pid, "handle", [one])

    async def requests() -> None:
        while True:
            try:
                await worker.request_to(pid, b"x" * 1000, timeout=0.1)
            except TimeoutError:
                pass

    async with asyncio.TaskGroup() as group:
        for work in (small, large, with_handles, requests):
            group.create_task(work())


async def flood_each_other(pid: int, count: int, size: int, way: str) -> int:
    """Sends so many while it hears so many, by a handler or by `messages`. Returns how many came in order."""
    worker = current_worker()
    heard: list[int] = []
    done = asyncio.Event()

    def hear_one(message: Any) -> None:
        heard.append(message[0])
        if len(heard) == count:
            done.set()

    async def take() -> None:
        async for message in worker.messages():
            hear_one(message)
            if way == "requests":
                assert await worker.request_to(pid, message[0]) == message[0]
            if done.is_set():
                return

    async with asyncio.TaskGroup() as group:
        if way == "handler":
            worker.on("message", lambda event: hear_one(event.message))
        else:
            group.create_task(take())
        group.create_task(send_numbers(pid, 0, count, size))
        await done.wait()
    return sum(n == index for index, n in enumerate(heard))


# ---- counting what comes fast


class Counter:
    """Counts messages, and says that their numbers went up by one each time."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}
        self.count = 0
        self.is_in_order = True
        self._more = asyncio.Event()

    def count_one(self, event: Any) -> None:
        if type(event.message) is not list:
            return
        n = event.message[0]
        if n != self.last.get(event.sender, -1) + 1:
            self.is_in_order = False
        self.last[event.sender] = n
        self.count += 1
        self._more.set()

    async def until(self, count: int) -> None:
        while self.count < count:
            self._more.clear()
            await self._more.wait()


counter = Counter()


async def count() -> None:
    current_worker().on("message", counter.count_one)


async def counted(number: int) -> bool:
    """Returns when so many came: whether they did so in each sender's order."""
    await counter.until(number)
    return counter.is_in_order and counter.count == number


async def echo_speed(pid: int, first: int, last: int) -> float:
    """How long it takes until another worker has counted these, in seconds."""
    began = time.perf_counter()  # uvloop's own clock counts milliseconds
    await send_numbers(pid, first, last, 64)
    await current_worker().request_to(pid, last)
    return time.perf_counter() - began


async def answer_when_counted() -> None:
    """Answers a request, which is a number, when that many messages have been counted."""

    async def answer(message: Any, sender: int) -> int:
        await counter.until(message)
        return counter.count

    current_worker().handle_requests(answer)


# ---- requests


class OddError(Exception):
    """Of a module, and with a text in which anything may stand."""


async def answer() -> None:
    """Answers requests by what they ask for."""

    async def later(message: Any) -> Any:
        await asyncio.sleep(0)
        return ["later", message]

    async def fail_later() -> Any:
        await asyncio.sleep(0)
        raise OddError("later: \udc80")

    async def wait() -> Any:
        await current_worker().send("begun")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await current_worker().send("cancelled")
            raise

    def handle(message: Any, sender: int) -> Any:
        match message:
            case "later":
                return later(message)
            case "fail":
                raise KeyError("fail")
            case "fail later":
                return fail_later()
            case "unpackable":
                return {"a": [object()]}
            case "wait":
                return wait()
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        return [message, sender]

    current_worker().handle_requests(handle)


async def echo() -> None:
    """Answers each request with what it says."""
    current_worker().handle_requests(lambda message, sender: message)


async def answer_late() -> None:
    """Answers each request only when a message says so."""
    worker = current_worker()
    gates: list[asyncio.Future[None]] = []

    async def handle(message: Any, sender: int) -> Any:
        gate = asyncio.get_running_loop().create_future()
        gates.append(gate)
        try:
            await gate
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.sleep(0))  # a handler that does not care
        return ["late", message]

    def open_gates(event: Any) -> None:
        for gate in gates:
            if not gate.done():
                gate.set_result(None)

    worker.handle_requests(handle)
    worker.on("message", open_gates)


async def request(message: Any, timeout: float | None = None) -> Any:
    return await current_worker().request(message, timeout=timeout)


async def request_to(pid: Any, message: Any, timeout: float | None = None) -> Any:
    return await current_worker().request_to(pid, message, timeout=timeout)


async def catch(name: str, *args: Any) -> str:
    """What a method of the worker raises: its class, those above it, and its text."""
    try:
        await getattr(current_worker(), name)(*args)
    except Exception as error:
        return f"{' '.join(cls.__name__ for cls in type(error).__mro__)}: {error}"
    return "nothing"


async def time_out(pid: int, count: int) -> int:
    """Makes requests that time out at once. Returns how many frames are then queued to leave."""
    for _ in range(count):
        try:
            await current_worker().request_to(pid, b"x" * 100, timeout=0)
        except TimeoutError:
            pass
        await asyncio.sleep(0)
    return len(current_worker()._session.channel._outbox)


async def catch_timeout(pid: int, message: Any) -> str:
    try:
        await current_worker().request_to(pid, message, timeout=0.05)
    except TimeoutError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


async def catch_unpackable(pid: int) -> list[str]:
    """What it is told that sends what no message may hold, by each way to send."""
    worker = current_worker()
    message = {"user": {"tags": [1, 2, {3}]}}
    told = []
    for call in (
        lambda: worker.send(message),
        lambda: worker.send_to(pid, message),
        lambda: worker.broadcast(message),
        lambda: worker.send_random(message),
        lambda: worker.request(message),
        lambda: worker.request_to(pid, message),
    ):
        try:
            await call()
        except Exception as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


# ---- handles


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


async def open_descriptors() -> int:
    """How many descriptors this worker has open."""
    gc.collect()
    return len(_descriptors())


async def serve_handles() -> None:
    """Uses each handle that comes, and says by it who this is and which message it came with."""
    worker = current_worker()

    async def use(sock: socket.socket, message: Any) -> None:
        loop = asyncio.get_running_loop()
        word = f"{worker.pid} {message}"[:90].encode()
        with sock:
            assert sock.gettimeout() == 0
            assert not sock.get_inheritable()
            if sock.type == socket.SOCK_DGRAM:
                data, address = await asyncio.to_thread(_receive_from, sock)
                sock.sendto(word + b" " + data, address)
            elif sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                connection, _ = await loop.sock_accept(sock)
                with connection:
                    await loop.sock_sendall(connection, word)
            else:
                await loop.sock_sendall(sock, word)

    async def use_all(event: Any) -> None:
        for sock in event.handles:
            await use(sock, event.message)

    worker.on("message", use_all)
    worker.on("error", ear.hear)
    worker.on("message", ear.hear)


def _receive_from(sock: socket.socket) -> tuple[bytes, Any]:
    import select

    select.select([sock], [], [])
    return sock.recvfrom(100)


async def listen_and_send(pid: int) -> int:
    """Opens a listening socket and sends it to another process. Returns its port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await current_worker().send_to(pid, "listening", [sock])
        assert sock.fileno() >= 0
        return int(sock.getsockname()[1])


async def send_pair(pid: int, *messages: Any) -> list[str]:
    """Sends one end of a new pair of sockets with each message. Returns what was said by the other ones."""
    loop = asyncio.get_running_loop()
    said = []
    for message in messages:
        one, other = socket.socketpair()
        with other:
            other.setblocking(False)
            await current_worker().send_to(pid, message, [one])
            assert one.fileno() == -1
            said.append((await loop.sock_recv(other, 100)).decode())
            assert await loop.sock_recv(other, 100) == b""  # nobody else has it
    return said


async def send_handles_back() -> None:
    """Sends each message back to the primary, with its handles."""
    worker = current_worker()

    async def send_back(event: Any) -> None:
        await worker.send(event.message, event.handles)

    worker.on("message", send_back)


async def send_pairs(pid: int, count: int) -> None:
    """Sends so many, and lets go of the other ends."""
    for n in range(count):
        one, other = socket.socketpair()
        other.close()
        await current_worker().send_to(pid, n, [one])


async def lower_limit(spare: int) -> None:
    """Leaves this worker so many descriptors that it may still open; -1: all it had at first."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if spare < 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return
    top = max(map(int, _descriptors()))
    for number in range(top):  # no holes below the limit, but as many as are to be spare
        try:
            os.fstat(number)
        except OSError:
            os.open("/dev/null", os.O_RDONLY)
    resource.setrlimit(resource.RLIMIT_NOFILE, (top + 1 + spare, hard))


# ---- sizes


async def send_sizes(pid: int, sizes: list[int]) -> list[str]:
    """Sends bytes of these sizes. Returns their digests."""
    digests = []
    for size in sizes:
        body = os.urandom(min(size, 1000)) * (size // 1000 + 1)
        await current_worker().send_to(pid, body[:size])
        digests.append(hashlib.sha256(body[:size]).hexdigest())
    return digests


async def heard_sizes(count: int) -> list[list[Any]]:
    return [
        [len(event.message), hashlib.sha256(event.message).hexdigest()] for event in await ear.hears("message", count)
    ]


async def catch_too_large(pid: int) -> str:
    return await catch("send_to", pid, bytes(MAX_MESSAGE))


async def start(function: str, *args: Any) -> None:
    """Starts another function of this module, and does not wait for it."""
    call: Callable[..., Any] = globals()[function]
    tasks.append(asyncio.ensure_future(call(*args)))


async def is_done(index: int = -1) -> bool:
    """Whether what `start` started has ended."""
    return bool(tasks[index].done())


async def small_overtakes_large(slow: int, fast: int, size: int) -> bool:
    """Sends a large message to one worker, and a small request to another. Whether the reply came first."""
    worker = current_worker()
    large = asyncio.ensure_future(worker.send_to(slow, b"x" * size))
    await asyncio.sleep(0)
    await worker.request_to(fast, "small")
    is_first = not large.done()
    await large
    return is_first


# ---- sent, and then no turn of the loop


async def send_and_block(message: Any, until: str) -> None:
    """Sends to the primary, and computes until there is that file, without giving the loop a turn."""
    await current_worker().send(message)
    compute_until(until)


def compute_until(path: str) -> None:
    end = time.monotonic() + 20
    while not os.path.exists(path):
        if time.monotonic() > end:
            os.kill(os.getpid(), signal.SIGKILL)
        sum(range(1000))


async def send_to_and_exit(pid: int, messages: list[Any], code: int) -> None:
    """Sends to the primary and to another worker, and ends at once."""
    worker = current_worker()
    for message in messages:
        await worker.send(message)
        await worker.send_to(pid, message)
    os._exit(code)


async def touch_what_is_named() -> None:
    """A target: makes the file that a message names."""
    worker = current_worker()
    messages = worker.messages()
    await worker.send("ready")
    async for path in messages:
        open(path, "w").close()


# ---- a worker that keeps to nothing


def raw_channel() -> socket.socket:
    """This worker's channel, to write to it what a compromised worker might. No call that uses it is answered."""
    sock = socket.socket(fileno=os.dup(current_worker()._session.channel.fileno()))
    sock.setblocking(True)
    return sock


async def write_without_end(frame: bytes) -> None:
    """Writes a frame again and again, until this worker is dropped; some 400 MB at most.

    It gives the loop no turn, so what this worker's own end would object to is not read.
    """
    with raw_channel() as sock:
        for _ in range(400_000_000 // len(frame)):
            sock.sendall(frame)


async def write(frame: bytes) -> None:
    with raw_channel() as sock:
        sock.sendall(frame)
    await asyncio.sleep(3600)


async def fail_with_much_text() -> None:
    """Reports a failure as an uncaught exception would be, with megabytes of text."""
    current_worker()._session.report_failure(ValueError("x" * 10_000_000))


async def is_awake() -> None:
    """Returns at once: this worker is awake."""


async def ask_without_end(size: int) -> None:
    """Writes requests to the primary, each with a number of its own, until this worker is dropped; see above."""
    with raw_channel() as sock:
        for number in range(10_000):
            sock.sendall(encode(kinds.REQUEST, os.getppid(), number, pack("x" * size)))
