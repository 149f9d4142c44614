from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from care_mobile.bench.report.plot import SUFFIXES, check_plot, draw, picture
from care_mobile.bench.report.view import SessionView
from care_mobile.errors import MissingDependencyError, UsageError

from .views import (
    STATES,
    different,
    functional,
    hostile_names,
    long_names,
    many,
    row,
    scripted,
    session,
)


def words_of(view: SessionView) -> list[str]:
    from matplotlib.text import Text

    return [found.get_text() for found in draw(view).findobj(Text) if isinstance(found, Text)]


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_a_picture(state: str) -> None:
    image = Image.open(BytesIO(picture(STATES[state](), ".png")))
    image.load()
    assert min(image.size) >= 400


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".SVG", b"<?xml"), (".pdf", b"%PDF")]
)
def test_the_suffix_decides_and_one_view_is_one_file(suffix: str, start: bytes) -> None:
    drawn = picture(different(), suffix)
    assert drawn.startswith(start)
    assert drawn == picture(different(), suffix)


def test_it_shows_every_rounds_median_and_ratio_with_its_interval() -> None:
    view = different()
    strip, forest = draw(view).axes
    medians = [list(line.get_xdata()) for line in strip.lines]
    assert [9.9, 10.0, 10.12, 9.97, 10.04] in medians
    assert [10.7365, 11.0635] in medians
    ratios = [list(line.get_xdata()) for line in forest.lines]
    assert [1.05, 1.13] in ratios
    assert [1.05, 1.09, 1.09, 1.09, 1.13] in ratios


def test_a_functional_run_has_no_axes_and_a_script_is_marked() -> None:
    assert draw(functional()).axes == []
    assert any("FUNCTIONAL" in text for text in words_of(functional()))
    texts = words_of(scripted())
    assert any("SCRIPTED" in text for text in texts)
    assert any("scripted" in text and "ms" in text for text in texts)


def test_names_are_no_formulas_and_long_ones_are_shortened() -> None:
    view = session([row(0, "$\\frac{"), row(1, "x" * 200)], different().conclusion)
    texts = words_of(view)
    assert "$\\frac{" in texts
    assert picture(view, ".png")
    assert f"{'x' * 20}…{'x' * 19}" in texts
    assert any("网络" in text for text in words_of(hostile_names()))


def test_ranges_over_a_decade_are_logarithmic_with_plain_numbers() -> None:
    figure = draw(long_names())
    figure.canvas.draw()
    for axes, number in zip(figure.axes, ("100", "1000"), strict=True):
        assert axes.get_xscale() == "log"
        texts = [label.get_text() for label in axes.get_xticklabels()]
        assert number in texts
        assert not any("$" in text for text in texts)


def test_more_rows_than_fit_are_said() -> None:
    rows = [row(n, f"cell {n}") for n in range(80)]
    assert any("the first 60 cells" in t for t in words_of(session(rows, many().conclusion)))


def test_another_suffix_is_refused_before_anything_is_measured() -> None:
    for suffix in SUFFIXES:
        check_plot(Path(f"x{suffix}"))
    for name in ("x.jpg", "x", "png"):
        with pytest.raises(UsageError, match=r"does not end in \.png"):
            check_plot(Path(name))


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from care_mobile import requirements

    def missing(module: str, extra: str) -> None:
        raise requirements.broken(module, "is not installed", extra)

    monkeypatch.setattr("care_mobile.bench.report.plot.load", missing)
    with pytest.raises(MissingDependencyError) as error:
        check_plot(Path("x.png"))
    assert "care-mobile[plot]" in error.value.hint


def test_nothing_imports_matplotlib_before_it_draws() -> None:
    source = (
        "import sys, care_mobile.bench.report.plot;"
        "sys.exit(any(name.startswith('matplotlib') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
