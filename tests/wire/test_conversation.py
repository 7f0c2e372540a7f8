"""Conversations: messages, handles and requests, both ways over one channel."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from aiocluster._wire import codec
from aiocluster._wire import frames as kinds
from aiocluster._wire.codec import encode, pack
from aiocluster.errors import (
    ChannelClosedError,
    HandleError,
    MessageTooLargeError,
    ProtocolError,
    RemoteError,
    SerializationError,
)
from tests.support.turns import turns

from .ends import PATIENCE, marked
from .parties import PEER, Party, parties


def handle(party: Party, handler: Callable[[Any, int], Any]) -> None:
    party.requests.handler = handler


# ---- messages


async def test_messages_arrive_in_order_both_ways() -> None:
    async with parties() as (here, there):
        for number in range(200):
            await here.conversation.send({"n": number})
            await there.conversation.send([number])
        assert await there.hears(200) == [{"n": number} for number in range(200)]
        assert await here.hears(200) == [[number] for number in range(200)]
        assert {(sender, handles) for sender, _, handles in there.received} == {(1, ())}


async def test_a_large_message_arrives_among_small_ones() -> None:
    async with parties() as (here, there):
        sent = ["first", "x" * 5_000_000, "between", b"y" * 2_000_000, "last"]
        async with asyncio.TaskGroup() as senders:
            for message in sent:
                senders.create_task(here.conversation.send(message))
        assert await there.hears(5) == sent


async def test_what_cannot_be_packed_is_refused_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_MESSAGE", 1000)
    monkeypatch.setattr(codec, "MAX_CONTAINERS", 100)  # only what is longer is looked at
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, there):
        with one, other:
            for message, error in (({1}, SerializationError), ("x" * 2000, MessageTooLargeError)):
                with pytest.raises(error):
                    await here.conversation.send(message)
                with pytest.raises(error):
                    await here.conversation.send(message, [one])
                with pytest.raises(error):
                    await here.conversation.request(message, None)
            assert one.fileno() >= 0
        await here.conversation.send("after")
        assert await there.hears(1) == ["after"]
        assert set(there.kinds) == {kinds.MESSAGES}  # the flusher may cut one in two


async def test_a_run_that_holds_other_than_it_says_ends_the_channel() -> None:
    async with parties() as (here, there):
        here.channel.send(encode(kinds.MESSAGES, PEER, 3, pack(1) + pack(2)))
        assert isinstance(await there.ended(), ProtocolError)


# ---- handles


async def test_handles_arrive_with_their_message_in_order() -> None:
    pairs = [socket.socketpair() for _ in range(4)]
    async with parties() as (here, there):
        await here.conversation.send("none")
        await here.conversation.send("one", [pairs[0][0]])
        await here.conversation.send("between")
        await here.conversation.send("three", [pair[0] for pair in pairs[1:]])
        await here.conversation.send("last")
        assert await there.hears(5) == ["none", "one", "between", "three", "last"]
        arrived = [handles for _, _, handles in there.received]
        assert [len(handles) for handles in arrived] == [0, 1, 0, 3, 0]
        for number, (sock, pair) in enumerate(zip((*arrived[1], *arrived[3]), pairs, strict=True)):
            assert sock.gettimeout() == 0.0
            assert not sock.get_inheritable()
            sock.send(b"%d" % number)
            assert pair[1].recv(10) == b"%d" % number
            pair[1].close()


async def test_a_connection_is_closed_in_its_sender_once_it_has_left() -> None:
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, there):
        with other:
            await here.conversation.send("take it", [one])
            assert one.fileno() == -1
            await there.hears(1)
            there.received[0][2][0].close()
            assert other.recv(1) == b""  # nobody else has it


async def test_keep_open_keeps_it() -> None:
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, there):
        with one, other:
            await here.conversation.send("share it", [one], keep_open=True)
            await there.hears(1)
            one.send(b"a")
            there.received[0][2][0].send(b"b")
            assert other.recv(10) == b"ab"


async def test_listening_and_udp_sockets_stay_open_in_both() -> None:
    async with parties() as (here, there):
        with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            await here.conversation.send("both", [listening, udp])
            await there.hears(1)
            theirs = there.received[0][2]
            assert [sock.getsockname() for sock in theirs] == [listening.getsockname(), udp.getsockname()]
            with socket.create_connection(listening.getsockname()):
                accepted, _ = listening.accept()
                accepted.close()


async def test_a_server_is_a_handle() -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with parties() as (here, there), await asyncio.start_server(nothing, "127.0.0.1", 0) as server:
        await here.conversation.send("server", [server])
        await there.hears(1)
        assert there.received[0][2][0].getsockname() == server.sockets[0].getsockname()
        assert server.is_serving()


async def test_a_transports_socket_is_a_handle_and_stays_open() -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    # The server is left last: it waits for its connection, of which the receiver holds a duplicate.
    async with await asyncio.start_server(nothing, "127.0.0.1", 0) as server, parties() as (here, there):
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        try:
            await here.conversation.send("connection", [writer.get_extra_info("socket")])
            await there.hears(1)
            assert there.received[0][2][0].getpeername() == server.sockets[0].getsockname()
            assert not writer.is_closing()
        finally:
            writer.close()
            await writer.wait_closed()


async def test_what_is_no_handle_is_refused_and_nothing_is_sent() -> None:
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, there):
        with one, other:
            with pytest.raises(TypeError):
                await here.conversation.send("x", [one, 7])
            assert one.fileno() >= 0
        with pytest.raises(ValueError, match="closed"):
            await here.conversation.send("x", [one])
        await here.conversation.send("after")
        assert await there.hears(1) == ["after"]


async def test_handles_that_cannot_be_sent_stay_open_in_their_sender() -> None:
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, _):
        with one, other:
            here.channel.close()
            with pytest.raises(ChannelClosedError):
                await here.conversation.send("x", [one])
            assert one.fileno() >= 0


async def test_lost_descriptors_are_told_to_both_and_the_message_arrives_without() -> None:
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, there):
        with one, other:
            here.channel.send(encode(kinds.HANDLES, PEER, 2, pack("incomplete")), [one.fileno()])
            await here.conversation.send("next", [one], keep_open=True)
            assert await there.hears(2) == ["incomplete", "next"]
            assert [len(handles) for _, _, handles in there.received] == [0, 1]
            await here.until(lambda: bool(here.complaints))
            for party in (here, there):
                assert [type(error) for error in party.complaints] == [HandleError]
            assert "2 descriptors" in str(here.complaints[0])
            assert "RLIMIT_NOFILE" in str(there.complaints[0])


async def test_descriptors_lost_on_the_way_are_told_to_the_receiver() -> None:
    """As the primary says when it had no room for what it should have passed on; it has told the sender itself."""
    async with parties() as (here, there):
        here.channel.send(encode(kinds.HANDLES, PEER, -2, pack("without")))
        assert await there.hears(1) == ["without"]
        await turns(10)
        assert [type(error) for error in there.complaints] == [HandleError]
        assert here.complaints == []


@pytest.mark.parametrize("body", [b"\xc1", b"", b"\x01\x01"])
async def test_handles_with_a_message_that_is_none_are_closed(body: bytes) -> None:
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, there):
        with other:
            here.channel.send(encode(kinds.HANDLES, PEER, 1, body), [one.fileno()], one.close)
            assert isinstance(await there.ended(), ProtocolError)
            assert other.recv(1) == b""  # nobody has it any more


async def test_handles_that_are_no_sockets_end_the_channel_and_are_closed() -> None:
    fd = marked(b"a pipe")
    async with parties() as (here, there):
        here.channel.send(encode(kinds.HANDLES, PEER, 1, pack("x")), [fd], lambda: os.close(fd))
        assert isinstance(await there.ended(), ProtocolError)
        assert there.received == []


# ---- requests


async def test_a_request_gets_its_reply() -> None:
    async with parties() as (here, there):
        handle(there, lambda message, sender: {"got": message, "from": sender})
        assert await here.conversation.request([1, "a"], None) == {"got": [1, "a"], "from": 1}


async def test_an_async_handler_replies_too() -> None:
    async def slowly(message: Any, sender: int) -> Any:
        await asyncio.sleep(0)
        return message * 2

    async with parties() as (here, there):
        handle(there, slowly)
        assert await here.conversation.request(21, 10) == 42


async def test_replies_find_their_requests_in_any_order() -> None:
    async with parties() as (here, there):
        gates = [asyncio.Event() for _ in range(5)]

        async def wait(message: int, sender: int) -> str:
            await gates[message].wait()
            return f"reply {message}"

        handle(there, wait)
        requests = [asyncio.ensure_future(here.conversation.request(number, None)) for number in range(5)]
        await turns(20)
        for number in (3, 0, 4, 2, 1):
            gates[number].set()
            assert await requests[number] == f"reply {number}"
            assert sum(request.done() for request in requests) == [3, 0, 4, 2, 1].index(number) + 1


async def test_a_message_does_not_overtake_a_request_that_was_sent_before_it() -> None:
    async with parties() as (here, there):
        handle(there, lambda message, _: there.received.append((1, message, ())))

        async def send(message: str) -> None:
            assert here.conversation.send_window.put_message(message) is None

        async with asyncio.TaskGroup() as one_turn:  # so the last message could join the first one's frame
            one_turn.create_task(send("first"))
            one_turn.create_task(here.conversation.request("request", None))
            one_turn.create_task(send("last"))
        assert await there.hears(3) == ["first", "request", "last"]


async def test_a_message_does_not_overtake_a_reply_that_was_sent_before_it() -> None:
    async with parties() as (here, there):

        def tell_and_reply(number: int, _: int) -> int:
            there.conversation.send_window.put_message(number)
            return number

        handle(there, tell_and_reply)
        requests = [asyncio.ensure_future(here.conversation.request(number, None)) for number in range(3)]
        assert await asyncio.gather(*requests) == [0, 1, 2]
        assert here.messages == [0, 1, 2]
        sent = [kind for kind in here.kinds if kind in (kinds.MESSAGES, kinds.REPLY)]
        assert sent == [kinds.MESSAGES, kinds.REPLY] * 3


async def test_requests_go_both_ways_at_once() -> None:
    async with parties() as (here, there):

        async def ask_back(message: int, sender: int) -> Any:
            return await there.conversation.request(message - 1, None) if message else "bottom"

        async def ask(message: int, sender: int) -> Any:
            return await here.conversation.request(message - 1, None) if message else "bottom"

        handle(there, ask_back)
        handle(here, ask)
        assert await here.conversation.request(20, None) == "bottom"


async def test_large_requests_and_replies_arrive_whole() -> None:
    async with parties() as (here, there):
        handle(there, lambda message, sender: message + b"!" * 1_000_000)
        replies = await asyncio.gather(
            *(here.conversation.request(b"%d" % number * 1_000_000, None) for number in range(5))
        )
        assert replies == [b"%d" % number * 1_000_000 + b"!" * 1_000_000 for number in range(5)]


class OwnError(Exception):
    pass


async def raise_own(message: Any, sender: int) -> None:
    raise OwnError(f"no {message}")


def raise_own_at_once(message: Any, sender: int) -> None:
    raise OwnError(f"no {message}")


@pytest.mark.parametrize("handler", [raise_own, raise_own_at_once])
async def test_a_handler_that_raises_is_the_requesters_remote_error(handler: Callable[[Any, int], Any]) -> None:
    async with parties() as (here, there):
        handle(there, handler)
        with pytest.raises(RemoteError) as caught:
            await here.conversation.request("tea", None)
        error = caught.value
        assert error.type_name == "tests.wire.test_conversation.OwnError"
        assert error.text == "no tea"
        assert error.remote_traceback.startswith("Traceback (most recent call last)")
        assert f"in {handler.__name__}" in error.remote_traceback
        assert str(error).startswith("tests.wire.test_conversation.OwnError: no tea\n\nTraceback")
        handle(there, lambda message, sender: "still there")
        assert await here.conversation.request("tea", None) == "still there"


async def test_the_error_of_an_error_without_text_and_of_one_that_cannot_be_printed() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def fail(message: Any, sender: int) -> None:
        raise {"empty": ValueError(), "surrogate": ValueError("\ud800"), "unprintable": Unprintable()}[message]

    async with parties() as (here, there):
        handle(there, fail)
        with pytest.raises(RemoteError, match=r"^builtins\.ValueError\n") as empty:
            await here.conversation.request("empty", None)
        assert empty.value.text == ""
        with pytest.raises(RemoteError) as surrogate:
            await here.conversation.request("surrogate", None)
        assert surrogate.value.text == "\\ud800"
        with pytest.raises(RemoteError) as unprintable:
            await here.conversation.request("unprintable", None)
        assert unprintable.value.text == "<unprintable Unprintable>"


async def test_without_a_handler_a_request_says_so() -> None:
    async with parties() as (here, _):
        with pytest.raises(RemoteError, match=r"handle_requests\(\)"):
            await here.conversation.request("anyone?", None)


async def test_a_reply_that_cannot_be_packed_is_a_remote_error() -> None:
    async with parties() as (here, there):
        handle(there, lambda message, sender: {"a": [{1}]})
        with pytest.raises(RemoteError, match=r'SerializationError: message\["a"\]\[0\]: set'):
            await here.conversation.request(1, None)


async def test_a_timeout_cancels_the_handler_and_says_whose_reply_did_not_come() -> None:
    async with parties() as (here, there):
        cancelled = asyncio.Event()

        async def hang(message: Any, sender: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        handle(there, hang)
        with pytest.raises(TimeoutError, match=r"^the other of here did not reply within 0\.05 seconds$"):
            await here.conversation.request("hello?", 0.05)
        await cancelled.wait()
        handle(there, lambda message, sender: "now")
        assert await here.conversation.request("hello?", 10) == "now"


async def test_a_late_reply_is_dropped() -> None:
    async with parties() as (here, there):
        gate = asyncio.Event()

        async def stubborn(message: Any, sender: int) -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await gate.wait()
            return f"late {message}"

        handle(there, stubborn)
        with pytest.raises(TimeoutError):
            await here.conversation.request(1, 0.01)
        gate.set()
        await here.until(lambda: kinds.REPLY in here.kinds)
        handle(there, lambda message, sender: message)
        assert await here.conversation.request(2, None) == 2
        assert here.ends == []


async def test_a_late_failure_is_dropped() -> None:
    async with parties() as (here, _):
        here.conversation.receive(kinds.FAILURE, 99, pack(["ValueError", "late", ""]), lambda: pytest.fail("no"))
        here.conversation.receive(kinds.REPLY, 99, pack("late"), lambda: pytest.fail("no"))


async def test_a_cancelled_request_cancels_its_handler() -> None:
    async with parties() as (here, there):
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def hang(message: Any, sender: int) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        handle(there, hang)
        request = asyncio.ensure_future(here.conversation.request("hello?", None))
        await started.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await cancelled.wait()
        assert kinds.REPLY not in here.kinds
        assert kinds.FAILURE not in here.kinds


async def test_a_request_cancelled_before_its_handler_began_is_harmless() -> None:
    """Both arrive in one read; a handler that never starts must not be warned of, either."""
    calls: list[Any] = []

    async def answer(message: Any, sender: int) -> Any:
        calls.append(message)
        return message

    async with parties() as (here, there):
        handle(there, answer)
        request = asyncio.ensure_future(here.conversation.request("first", None))
        await asyncio.sleep(0)
        request.cancel()
        assert await here.conversation.request("second", None) == "second"
        assert request.cancelled()
        assert here.ends == there.ends == []


async def test_a_cancelled_large_request_leaves_the_stream_whole() -> None:
    async with parties() as (here, there):
        handle(there, lambda message, sender: len(message))
        request = asyncio.ensure_future(here.conversation.request(b"x" * 30_000_000, None))
        await turns(3)
        assert not request.done()
        request.cancel()
        assert await here.conversation.request(b"y" * 3_000_000, None) == 3_000_000
        assert request.cancelled()


async def test_a_call_is_answered_by_its_mailbox() -> None:
    async with parties() as (here, _):
        assert await here.conversation.request([{"name": "f"}, [1, 2]], None, kinds.CALL) == [{"name": "f"}, 1, 2]


# ---- the end


async def test_the_end_gives_back_what_was_not_confirmed_and_fails_requests() -> None:
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, there):
        there.channel.detach()  # it reads no more
        await here.conversation.send(1)
        with other:
            await here.conversation.send({"two": 2}, [one])
            await here.conversation.send([3])
            request = asyncio.ensure_future(here.conversation.request("four", None))
            await turns(10)
            there.channel.close()
            await here.ended()
            await here.conversation.end()
            assert here.returned == [(2, 1), (2, {"two": 2}), (2, [3])]
            with pytest.raises(ChannelClosedError, match=r"^the other of here disconnected before it replied$"):
                await request
            with pytest.raises(ChannelClosedError):
                await here.conversation.send(5)
            with pytest.raises(ChannelClosedError):
                await here.conversation.request(6, None)
            assert other.recv(1) == b""  # closed with the channel that had it in flight


async def test_the_end_cancels_the_handlers_of_who_is_gone() -> None:
    async with parties() as (here, there):
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def hang(message: Any, sender: int) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        handle(there, hang)
        request = asyncio.ensure_future(here.conversation.request(1, None))
        await started.wait()
        here.channel.close()
        await there.ended()
        await there.conversation.end()
        assert cancelled.is_set()
        await here.conversation.end()
        with pytest.raises(ChannelClosedError):
            await request


async def test_an_end_whose_cause_is_a_request_ends_it_once() -> None:
    """The requester is cancelled in the turn in which its reply fails: no error is left unseen."""
    async with parties() as (here, there):
        handle(there, lambda message, sender: 1 / 0)
        request = asyncio.ensure_future(here.conversation.request(1, None))
        await here.until(lambda: kinds.FAILURE in here.kinds)
        request.cancel()
        await asyncio.wait({request})
        if not request.cancelled():
            assert isinstance(request.exception(), RemoteError)


async def test_descriptors_in_flight_count_for_one_message_only() -> None:
    """What is sent by hand beside the protocol: two batches for one frame."""
    one, other = socket.socketpair()
    other.settimeout(PATIENCE)
    async with parties() as (here, there):
        with one, other:
            frame = encode(kinds.HANDLES, PEER, 1, pack("x" * 100))
            rights = array.array("i", [one.fileno()])
            for piece in (frame[:10], frame[10:]):
                here.sock.sendmsg([piece], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            assert isinstance(await there.ended(), ProtocolError)
