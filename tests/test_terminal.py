from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from care_mobile import errors
from care_mobile.errors import CareError
from care_mobile.terminal import interrupts, progress_console, result_console, run_command

ERRORS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, CareError)
]
COMMANDS = ["care_mobile.doctor", "care_mobile.export.cli", "care_mobile.bench.cli"]
HEAVY = ["torch", "coremltools", "executorch", "onnx", "onnxruntime", "sklearn", "scipy"]

Script = Callable[..., "subprocess.CompletedProcess[str]"]


def outcome(command: Callable[[], object]) -> object:
    with pytest.raises(SystemExit) as ended:
        run_command(command)
    return ended.value.code


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> object:
        raise error

    return command


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_become_two_lines_and_their_exit_code(
    kind: type[CareError], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(raising(kind("it is\nbroken", "mend it"))) == kind.exit_code
    assert capsys.readouterr() == ("", "error: it is broken\n  try: mend it\n")


def test_an_error_without_hint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(raising(CareError("it is broken"))) == 1
    assert capsys.readouterr().err == "error: it is broken\n"


def test_no_cause_is_shown() -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(raising(CareError("broken")))
    assert ended.value.__suppress_context__


@pytest.mark.parametrize(
    "command",
    [raising(KeyboardInterrupt()), raising(SystemExit(130)), lambda: 130],
    ids=["raised", "typer standalone", "typer embedded"],
)
def test_an_interrupt_ends_with_130(
    command: Callable[[], object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(command) == 130
    assert capsys.readouterr().err == "interrupted; what was finished is intact\n"


@pytest.mark.parametrize(("value", "code"), [(None, 0), (0, 0), (3, 3), ("text", 0), ([], 0)])
def test_what_a_command_returns(
    value: object, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(lambda: value) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("code", [0, 2, 3])
def test_an_exit_passes(code: int) -> None:
    assert outcome(raising(SystemExit(code))) == code


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "n" * 3000),
            ": File name too long",
            2,
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device", 1),
        (MemoryError(), "error: out of memory", 1),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: BaseException, said: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(raising(error)) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(said)
    assert len(lines) == 2
    assert len(lines[0]) < 300


def test_escape_sequences_in_an_error_do_not_act(capsys: pytest.CaptureFixture[str]) -> None:
    outcome(raising(CareError("\x1b[2J gone \u202e", "\x9b1m")))
    assert capsys.readouterr().err == "error: \\x1b[2J gone \\u202e\n  try: \\x9b1m\n"


def test_escape_sequences_in_a_table_do_not_act(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("a\x1b[1mb")
    table.add_row(Text("x\x1b]0;title\x07y"), style="red")
    result_console().print(table)
    out = capsys.readouterr().out
    assert "a\\x1b[1mb" in out
    assert "x\\x1b]0;" in out
    assert "\x1b" not in out


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 / 0)


PIPE = """
import sys
from care_mobile.terminal import run_command
sys.stdin.readline()  # by then the reader is gone
run_command(lambda: sys.stdout.write("x" * int(sys.argv[1])) and None)
"""


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_closed_pipe_is_no_traceback(size: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PIPE, str(size)],
        env=dict(os.environ) | {"PYTHONUNBUFFERED": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    assert process.stderr.read() == b""
    assert process.wait() == 1
    process.stderr.close()


# Whole commands.


def command(module: str, *arguments: str, before: str = "") -> list[str]:
    source = f"import sys\n{before}\nfrom {module} import main\nsys.argv[0] = 'care'\nmain()"
    return [sys.executable, "-c", source, *arguments]


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "module", ["care_mobile.doctor", "care_mobile.bench.cli", "care_mobile.export.cli"]
)
def test_wrong_options_are_no_traceback(tmp_path: Path, module: str) -> None:
    done = run(*command(module, "--nope"), cwd=tmp_path)
    assert done.returncode == 2
    assert "No such option: --nope" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_interrupted_command(tmp_path: Path) -> None:
    before = (
        "import care_mobile.diagnosis as d\n"
        "def diagnose(): raise KeyboardInterrupt\n"
        "d.diagnose = diagnose"
    )
    done = run(*command("care_mobile.doctor", before=before), cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr == "interrupted; what was finished is intact\n"


LIGHT = """
import atexit, sys
heavy = {heavy}
atexit.register(lambda: print("loaded:", [m for m in heavy if m in sys.modules]))
"""


@pytest.mark.parametrize("module", COMMANDS)
def test_help_loads_nothing_heavy(tmp_path: Path, module: str) -> None:
    words = command(module, "--help", before=LIGHT.format(heavy=[*HEAVY, "numpy", "PIL"]))
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage: care" in done.stdout
    assert done.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize(
    "module",
    [
        "care_mobile",
        "care_mobile.bench",
        "care_mobile.bundle",
        "care_mobile.diagnosis",
        "care_mobile.inputs",
        "care_mobile.models.catalog",
        "care_mobile.runtimes",
    ],
)
def test_imports_load_nothing_heavy(tmp_path: Path, module: str) -> None:
    source = LIGHT.format(heavy=HEAVY) + f"import {module}"
    assert run(sys.executable, "-c", source, cwd=tmp_path).stdout == "loaded: []\n"


# Consoles.


def test_progress_goes_to_standard_error_also_while_that_is_redirected(script: Script) -> None:
    done = script(
        "from care_mobile.quiet import quiet\n"
        "from care_mobile.terminal import progress_console\n"
        "console = progress_console()\n"
        "with quiet(): console.print('still here')"
    )
    assert (done.stdout, done.stderr) == ("", "still here\n")


def test_results_go_to_standard_output(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    source = (
        "from care_mobile.terminal import result_console\n"
        "console = result_console()\n"
        "console.print('x' * 100)"
    )
    done = script(source)
    assert (done.stdout, done.stderr) == ("x" * 100 + "\n", "")


def test_results_take_the_width_they_are_given(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    done = script("from care_mobile.terminal import result_console as r; r().print('x' * 50)")
    assert done.stdout == "x" * 40 + "\n" + "x" * 10 + "\n"


def test_a_captured_stream_has_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress_console.__wrapped__().print("hello")
    assert stream.getvalue() == "hello\n"
    assert result_console().file is not stream


def test_a_swallowed_interrupt_comes_back() -> None:
    with interrupts() as check:
        check()
        with suppress(KeyboardInterrupt):  # as a finalizer would
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
