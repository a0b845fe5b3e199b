import time

import pytest

from tfpbnn.base.progress import Bar


@pytest.fixture
def wait(monkeypatch):
    """Puts the clocks forward."""
    now = [0.0]
    for name in ("monotonic", "time"):
        monkeypatch.setattr(time, name, lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


@pytest.mark.parametrize(
    ("total", "steps", "shown"),
    [
        (1, [30.0], False),  # it is done when there is something to show
        (10, [0.1] * 10, False),
        (10, [1.5, *[0.01] * 9], True),  # would be 15 s, by what is known
        (4, [1.0] * 4, True),
        (None, [0.3, 0.3], False),
        (None, [1.5], True),
    ],
)
def test_a_bar_is_shown_where_there_is_time_left(
    wait, capsys, total, steps, shown
):
    bar = Bar("auto")
    bar.expect(total)
    for seconds in steps:
        wait(seconds)
        bar.step()
    bar.close()
    out = capsys.readouterr().out
    assert (out != "") == shown
    assert not shown or f"{len(steps)}/" in out


def test_a_bar_that_was_asked_for_tells_the_time(wait, capsys):
    bar = Bar(1)
    bar.expect(1)
    wait(7.0)
    bar.step()
    bar.close()
    out = capsys.readouterr().out
    assert "1/1" in out
    assert "7s" in out
    Bar(0).step()
    assert capsys.readouterr().out == ""


def test_bad_verbose():
    with pytest.raises(ValueError, match=r"`verbose` must be .*'loud'"):
        Bar("loud")
