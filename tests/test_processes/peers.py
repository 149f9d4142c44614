"""A peer that does what it is asked, good or bad: `python -m test_processes.peers`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from care_mobile.processes.peer import serve


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """One thing a process can do."""
    what = request["do"]
    if what == "crash":
        sys.stderr.write("terminate called\n")
        sys.stderr.flush()
        os.abort()
    if what == "hang":
        time.sleep(600)
    if what == "grow":
        hoard = [bytearray(os.urandom(1 << 20)) for _ in range(1 << 20)]
        return {"held": len(hoard)}
    if what == "talk":
        print("chatter")
        os.system("echo more chatter")
    return {"did": what, "text": "a\n" * request.get("lines", 0)}


if __name__ == "__main__":
    serve(answer, lambda: print("preparing"))
