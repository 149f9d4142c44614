from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from care_mobile.errors import CareError, TargetError
from care_mobile.export.targets import get_target
from care_mobile.export.worker import Worker


def test_a_dead_worker_is_one_error_and_the_next_request_gets_a_new_one(tmp_path: Path) -> None:
    worker = Worker(get_target("onnx"))
    try:
        os.kill(worker._peer.process.pid, signal.SIGKILL)
        worker._peer.process.wait()
        with pytest.raises(CareError, match="not a bundle"):
            worker.run(tmp_path, worker.target.runtime, {}, tmp_path)  # restarted, and answers
        os.kill(worker._peer.process.pid, signal.SIGSTOP)
        os.kill(worker._peer.process.pid, signal.SIGKILL)
    finally:
        worker.close()
    with pytest.raises(TargetError, match="process died"):
        worker.run(tmp_path, worker.target.runtime, {}, tmp_path)


def test_errors_cross_the_process_with_hint_and_code(tmp_path: Path) -> None:
    worker = Worker(get_target("onnx"))
    try:
        with pytest.raises(CareError) as caught:
            worker.run(tmp_path / "nowhere", worker.target.runtime, {}, tmp_path)
    finally:
        worker.close()
    assert caught.value.exit_code == 5
    assert caught.value.hint
