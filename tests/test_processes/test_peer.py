from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from care_mobile.processes import children
from care_mobile.processes.peer import Limits, Peer, PeerDiedError


@pytest.fixture
def peer() -> Iterator[Peer]:
    tests = str(Path(__file__).parents[1])
    found = Peer("test_processes.peers", environment={"PYTHONPATH": tests})
    yield found
    found.close()
    assert found.process.pid not in children._running


def test_answers_come_back_whatever_is_printed(peer: Peer) -> None:
    assert peer.ask({"do": "talk"})["did"] == "talk"
    assert len(peer.ask({"do": "it", "lines": 200_000})["text"]) == 400_000


def test_a_crash_is_an_error_with_its_last_words_and_the_next_request_is_served(peer: Peer) -> None:
    with pytest.raises(PeerDiedError, match=r"SIGABRT: .*terminate called"):
        peer.ask({"do": "crash"})
    assert peer.ask({"do": "go on"})["did"] == "go on"


def test_a_request_that_takes_too_long_is_ended(peer: Peer) -> None:
    assert peer.ask({"do": "start"})["did"] == "start"
    with pytest.raises(PeerDiedError, match=r"longer than 0\.2 s"):
        peer.ask({"do": "hang"}, Limits(seconds=0.2))
    assert peer.ask({"do": "go on"}, Limits(seconds=60))["did"] == "go on"


def test_a_request_that_takes_too_much_memory_is_ended(peer: Peer) -> None:
    with pytest.raises(PeerDiedError, match=r"more than 0\.2 GiB of memory"):
        peer.ask({"do": "grow"}, Limits(seconds=60, resident_bytes=200 << 20))


def test_a_closed_peer_answers_no_more(peer: Peer) -> None:
    peer.close()
    with pytest.raises(PeerDiedError):
        peer.ask({"do": "it"})
