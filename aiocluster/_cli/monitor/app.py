"""`Top`: what ``aiocluster top`` shows in a terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Sparkline, Static, Tab, Tabs

from ...errors import ClusterError
from ..background import in_words
from ..table import duration, share, size, text
from . import orders
from .columns import Column, shown
from .rates import Description
from .watch import Look, Watch

_KEPT = 120  # looks that the graphs show
_PADDING = 1  # of a cell, at each side
_TERMINAL = 0  # standard input
_UNTIL_QUIT = 0.5  # seconds for a look that is under way
_COLOURS = {"running": "green", "starting": "yellow", "reloading": "yellow", "stopping": "yellow"}


class Seen(Message):
    """There was a look."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look


class Said(Message):
    """Something happened that is worth a line."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line


class Finished(Message):
    """What a key asked for has been done, or not."""

    def __init__(self, line: str, *, is_error: bool = False) -> None:
        super().__init__()
        self.line = line
        self.is_error = is_error


class Question(ModalScreen[bool]):
    """Asks before something is done; only ``y`` is a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Yes"),
        Binding("n,escape,q", "dismiss(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(id="question"):
            yield Static(self._question, markup=False)
            yield Static("y: yes   n: no", markup=False, id="answers")


class Top(App[None]):
    """The clusters that run, one at a time.

    Args:
        name: The one that is shown first.
        interval: Seconds between looks.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "aiocluster top"
    CSS = """
    Screen { layout: vertical; }
    #clusters { height: 2; }
    #clusters.alone { display: none; }
    #head { height: auto; padding: 0 1; }
    #graphs { height: 3; margin: 1 0; }
    #graphs Vertical { width: 1fr; padding: 0 1; }
    #graphs Static { height: 1; }
    #graphs Sparkline { height: 2; }
    #workers { height: 1fr; }
    #said { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
    #said.error { color: $text-error; }
    Question { align: center middle; }
    #question { width: auto; max-width: 90%; height: auto; padding: 1 2; border: round $warning; background: $surface; }
    #question Static { width: auto; max-width: 100%; }
    #answers { margin-top: 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("r", "reload", "Reload"),
        Binding("plus,equals_sign", "resize(1)", "More", key_display="+"),
        Binding("minus", "resize(-1)", "Fewer", key_display="-"),
        Binding("s", "stop", "Stop"),
        Binding("w", "replace_worker", "Replace worker"),
        Binding("tab", "turn(1)", "Next", priority=True),
        Binding("shift+tab", "turn(-1)", show=False, priority=True),
    ]

    def __init__(self, name: str, interval: float) -> None:
        super().__init__()
        self.name_shown = name
        self._watch = Watch(name, interval, self._tell)
        self._names: list[str] = []
        self._found: Description | None = None
        self._cpu: deque[float] = deque(maxlen=_KEPT)
        self._taken: deque[float] = deque(maxlen=_KEPT)
        self._under_way: str | None = None
        self._told_to_stop: int | None = None  # the process id of the cluster whose end is told by the order itself
        self._columns: list[Column] = []

    def _tell(self, look: Look) -> None:
        self.post_message(Seen(look))

    # ---- what it looks like

    def compose(self) -> ComposeResult:
        yield Tabs(id="clusters", classes="alone")
        yield Static(id="head", markup=False)
        with Horizontal(id="graphs"):
            with Vertical():
                yield Static("CPU", id="cpu", markup=False)
                yield Sparkline(id="cpu_graph", summary_function=max)
            with Vertical():
                yield Static("connections/s", id="taken", markup=False)
                yield Sparkline(id="taken_graph", summary_function=max)
        yield DataTable(id="workers", cursor_type="row", cell_padding=_PADDING, zebra_stripes=True)
        yield Static(id="said", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.query_one("#clusters").can_focus = False
        self.query_one("#workers").focus()
        if not self.is_headless:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
        self._watch.start()

    def on_unmount(self) -> None:
        self._watch.stop(_UNTIL_QUIT)

    def on_resize(self) -> None:
        if self._found is not None:
            self._show_workers(self._found["workers"])

    # ---- a look

    async def on_seen(self, event: Seen) -> None:
        if not self.is_headless and not os.isatty(_TERMINAL):
            signal.raise_signal(signal.SIGHUP)  # the terminal has gone: there is nothing to put in order
        look = event.look
        if look.found["name"] != self.name_shown:
            return  # asked for before another one was shown
        before, self._found = self._found, look.found
        if look.names != self._names:
            await self._show_names(look.names)
        self._show_head(look.found)
        self._show_graphs(look.found["totals"])
        self._show_workers(look.found["workers"])
        if before is None or before["pid"] is None or look.found["pid"] is not None or self._under_way is not None:
            return
        if look.found["state"] == "died":
            self._say(f"{self.name_shown} has died", True)
        elif before["pid"] != self._told_to_stop:
            self._say(f"{self.name_shown} has ended", True)

    async def _show_names(self, names: list[str]) -> None:
        self._names = names
        tabs = self.query_one("#clusters", Tabs)
        tabs.set_class(len(names) < 2, "alone")
        with self.prevent(Tabs.TabActivated, Tabs.Cleared):
            await tabs.clear()
            for number, name in enumerate(names):
                await tabs.add_tab(Tab(Text(name), id=f"cluster-{number}"))
            tabs.active = f"cluster-{names.index(self.name_shown)}"

    def _show_head(self, found: Description) -> None:
        bounds, totals = found.get("bounds"), found["totals"]
        state = found["state"]
        head = Text()
        head.append(f"{found['name']} ", "bold")
        head.append(state, f"bold {_COLOURS.get(state, 'red')}")
        facts = [found.get("target"), found.get("error")]
        if bounds is not None:
            low, high = bounds
            facts.append(f"{low if low == high else f'{low} to {high}'} worker{'' if high == 1 else 's'}")
        if found["addresses"]:
            facts.append(", ".join(found["addresses"]))
        facts += [found.get("policy"), f"pid {found['pid']}" if found["pid"] is not None else None]
        if "age" in found:
            facts.append(f"up {duration(found['age'])}")
        if found.get("restarts"):
            facts.append(f"{found['restarts']} restart{'' if found['restarts'] == 1 else 's'}")
        head.append("".join(f" · {fact}" for fact in facts if fact))
        if bounds is not None:
            head.append(f"\nmemory {size(totals['memory'])} · busy {share(totals['busy'])} · ")
            head.append(f"{text(totals['connections'])} open · messages {_per_second(totals['messages_per_second'])}")
        self.query_one("#head", Static).update(head)

    def _show_graphs(self, totals: dict[str, Any]) -> None:
        for name, label, number, kept, words in (
            ("cpu", "CPU", totals["cpu"], self._cpu, share),
            ("taken", "connections", totals["connections_per_second"], self._taken, _per_second),
        ):
            if number is not None:
                kept.append(number)
            peak = f", peak {words(max(kept))}" if kept else ""
            self.query_one(f"#{name}", Static).update(f"{label} {words(number)}{peak}")
            self.query_one(f"#{name}_graph", Sparkline).data = list(kept)

    def _show_workers(self, workers: list[dict[str, Any]]) -> None:
        table: DataTable[Text] = self.query_one("#workers", DataTable)
        columns, rows = shown(workers, self.size.width - 2, 2 * _PADDING)
        keys = [str(worker["pid"]) for worker in workers]
        cells = [[_aligned(cell, column) for column, cell in zip(columns, row, strict=True)] for row in rows]
        if columns == self._columns and keys == [key.value for key in table.rows]:
            for key, row in zip(keys, cells, strict=True):
                for column, cell in zip(columns, row, strict=True):
                    table.update_cell(key, column.head, cell, update_width=True)
            return
        chosen = table.cursor_row
        table.clear(columns=columns != self._columns)
        if columns != self._columns:
            self._columns = columns
            for column in columns:
                table.add_column(_aligned(column.head, column), key=column.head)
        for key, row in zip(keys, cells, strict=True):
            table.add_row(*row, key=key)
        table.move_cursor(row=chosen, animate=False)

    # ---- which one is shown

    def action_turn(self, by: int) -> None:
        """Shows the next cluster, or the one before."""
        if len(self._names) > 1:
            self._show(self._names[(self._names.index(self.name_shown) + by) % len(self._names)])

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        number = int(str(event.tab.id).rpartition("-")[2])
        if number < len(self._names):
            self._show(self._names[number])

    def _show(self, name: str) -> None:
        if name == self.name_shown:
            return
        self.name_shown = name
        self._found = None
        self._cpu.clear()
        self._taken.clear()
        self.query_one("#clusters", Tabs).active = f"cluster-{self._names.index(name)}"
        self._say("")
        self._watch.show(name)

    # ---- what the keys do

    def action_reload(self) -> None:
        """Replaces all workers."""
        name = self.name_shown
        self._begin(f"{name} is being reloaded", lambda: orders.reload(name, self._happens))

    def action_resize(self, by: int) -> None:
        """Adds workers, or takes some away."""
        name = self.name_shown
        self._begin(f"{name} is being scaled", lambda: orders.resize(name, by, self._happens))

    def action_stop(self) -> None:
        """Stops the cluster, if the answer is yes."""
        name = self.name_shown
        pid = self._found["pid"] if self._found is not None else None

        def stop() -> str:
            self._told_to_stop = pid
            return orders.stop(name, self._happens)

        self._ask(f"Stop {name}?", f"{name} is being stopped", stop)

    def action_replace_worker(self) -> None:
        """Replaces the chosen worker, if the answer is yes."""
        table: DataTable[Text] = self.query_one("#workers", DataTable)
        workers = self._found["workers"] if self._found is not None else []
        if not 0 <= table.cursor_row < len(workers):
            return
        name, worker = self.name_shown, workers[table.cursor_row]
        who = f"agent {worker['name']}" if worker["name"] else f"worker {worker['slot']}"
        who = f"{who} of {name} (pid {worker['pid']})"
        self._ask(f"Replace {who}?", f"{who} is told to leave", lambda: orders.replace_worker(name, worker["pid"]))

    def _ask(self, question: str, begun: str, order: Callable[[], str]) -> None:
        def answered(is_yes: bool | None) -> None:
            if is_yes:
                self._begin(begun, order)

        _ = self.push_screen(Question(question), answered)

    def _begin(self, begun: str, order: Callable[[], str]) -> None:
        """Carries an order out, in a thread that waits for it. There is one at a time."""
        if self._under_way is not None:
            self._say(f"not now: {self._under_way}", True)
            return
        self._under_way = begun
        self._say(begun)

        def carry_out() -> None:
            try:
                self.post_message(Finished(order()))
            except (ClusterError, OSError) as error:
                self.post_message(Finished(f"not done: {error}", is_error=True))

        # If the user quits, it goes on in the cluster; nobody waits here.
        threading.Thread(target=carry_out, name=begun, daemon=True).start()

    def _happens(self, event: dict[str, Any]) -> None:
        if (line := in_words(event)) is not None:
            self.post_message(Said(line))

    def on_said(self, event: Said) -> None:
        self._say(event.line)

    def on_finished(self, event: Finished) -> None:
        self._under_way = None
        self._say(event.line, event.is_error)
        self._watch.look()

    def _say(self, line: str, is_error: bool = False) -> None:
        said = self.query_one("#said", Static)
        said.set_class(is_error, "error")
        said.update(line)


def _aligned(cell: str, column: Column) -> Text:
    return Text(cell, justify="right" if column.is_number else "left")


def _per_second(number: float | None) -> str:
    return "-" if number is None else f"{number:.0f}/s" if number >= 10 or number == 0 else f"{number:.1f}/s"
