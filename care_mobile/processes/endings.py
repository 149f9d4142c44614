"""How a command is ended: Ctrl-C, SIGTERM and SIGHUP clean up alike.

The first of them raises a KeyboardInterrupt in the main thread, later ones change nothing. Python
drops an interrupt that is raised inside a finalizer or a library's callback, and cannot raise one
while a native call runs; a watching thread ends a command that is not gone soon after.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from . import children

GRACE_SECONDS = 4.0
"""What a command has to clean up before it is ended as it is."""

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Endings:
    """`number` of the first signal, None so far."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.over = threading.Event()

    def check(self) -> None:
        """Raise a KeyboardInterrupt again that was swallowed."""
        if self.number is not None:
            raise KeyboardInterrupt

    def exit_code(self, usual: int) -> int:
        """128 and the signal's number, as shells have it; `usual` without a signal."""
        return usual if self.number is None else 128 + self.number

    def _seen(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            raise KeyboardInterrupt


_current: Endings | None = None


@contextmanager
def endings() -> Iterator[Endings]:
    """Handle the signals meanwhile; inside another block, the same ones.

    A signal that is ignored, as nohup and shells in the background do, stays ignored.
    """
    global _current  # noqa: PLW0603 - signals belong to the process
    if _current is not None:
        yield _current
        return
    found = Endings()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    handled = [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, found._seen) for number in handled}
    _current = found
    stop = _watch(found)
    try:
        yield found
    finally:
        found.over.set()
        stop()
        _current = None
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(found: Endings) -> Callable[[], None]:
    """Watch for signals outside the main thread; returns what ends the watching."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while True:
            number = os.read(reading, 1)
            if not number:
                break
            if number[0] in SIGNALS:
                if not found.over.wait(GRACE_SECONDS):
                    _end_now(number[0])
                break
        os.close(reading)

    threading.Thread(target=watch, daemon=True, name="endings").start()

    def stop() -> None:
        signal.set_wakeup_fd(before)
        os.close(writing)

    return stop


def _end_now(number: int) -> None:
    """End a command that does not end by itself; what stays is what a kill leaves."""
    children.end_all()
    with suppress(OSError):
        if os.isatty(2):
            os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
        os.write(2, b"interrupted; what was finished is intact\n")
    os._exit(128 + number)
