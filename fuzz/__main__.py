"""The command behind `make fuzz`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from care_mobile.errors import unknown_name
from care_mobile.terminal import in_scratch, interrupts, progress_console, run_command

if TYPE_CHECKING:
    from .campaign import Result

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@in_scratch
def fuzz(
    seconds: Annotated[float, typer.Option(min=0, help="How long, golden files not counted.")] = 60,
    cases: Annotated[int | None, typer.Option(min=1, help="At most so many of each kind.")] = None,
    seed: Annotated[int, typer.Option(help="Of all damage.")] = 0,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; repeatable.")] = None,
    keep: Annotated[Path, typer.Option(help="Folder for files that broke a reader.")] = Path(
        "build/fuzz"
    ),
) -> None:
    """Damage good files at random and give them to the readers that users' files go to.

    Each must be read or refused in a line: no traceback, no crash, no memory or time without
    bounds. Exits with 1 if one was not.
    """
    import tempfile

    from .campaign import Campaign
    from .golden import KINDS

    chosen = tuple(kind or KINDS)
    unknown = next((name for name in chosen if name not in KINDS), None)
    if unknown is not None:
        raise unknown_name("kind", unknown, KINDS)
    console = progress_console()
    with interrupts() as check, tempfile.TemporaryDirectory() as folder:
        console.print(f"making golden files of {len(chosen)} kinds")
        with Campaign(seed, chosen, Path(folder), keep) as campaign:
            result = campaign.run(cases, seconds, lambda _: check())
    _report(result, seed)
    raise typer.Exit(1 if result.findings else 0)


def _report(result: Result, seed: int) -> None:
    kinds = sorted({kind for kind, _ in result.outcomes})
    write = sys.stdout.write
    write(f"seed {seed}: {result.outcomes.total()} damaged files\n")
    for kind in kinds:
        counts = {o: result.outcomes[kind, o] for o in ("read", "refused", "broken")}
        write(f"  {kind:12} " + "  ".join(f"{n:6} {what}" for what, n in counts.items()) + "\n")
    for finding in result.findings:
        write(f"\n{finding.case}: kept as {finding.file}\n{finding.detail}\n")


if __name__ == "__main__":
    run_command(app)
