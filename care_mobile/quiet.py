"""Keep the chatter of third-party tools from users."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Swallow what the block prints, also from native code, its log records and warnings.

    Works on file descriptors 1 and 2, so it belongs around short calls on the main thread.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    saved = {fd: os.dup(fd) for fd in (1, 2)}
    disabled = logging.root.manager.disable
    with open(os.devnull, "wb") as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            for fd in saved:
                os.dup2(sink.fileno(), fd)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for fd, original in saved.items():
                os.dup2(original, fd)
                os.close(original)
            logging.disable(disabled)
