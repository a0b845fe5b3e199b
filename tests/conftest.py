"""Options and fixtures of all tests."""

import gc
import logging

import keras
import pytest

from tfpbnn.base import gradients


def pytest_addoption(parser):
    parser.addoption(
        "--runslow",
        action="store_true",
        help="also run tests that take over a minute",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="needs --runslow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What imports make stays: there is no need to look for garbage in it."""
    gc.disable()
    found = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return found


@pytest.fixture(autouse=True, scope="module")
def _garbage_goes_with_its_module():
    """What is left stays, as caches do: no collection walks through it again.

    Python else walks through all that is there whenever it has grown by a
    quarter. This is set up before the other fixtures of a module, and so comes
    after these are gone.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(20260101)


@pytest.fixture(autouse=True)
def _graphs_go_with_their_models():
    """Those of plain Keras's `fit` stay otherwise, and fill the memory."""
    yield
    gradients.release()


@pytest.fixture
def quick_gc():
    """Garbage is collected of what the test makes: others have made much."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_autograph_warnings(caplog):
    """AutoGraph says by a log record that it gave up on a function."""
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        yield
    assert not [r for r in caplog.records if "AutoGraph" in r.getMessage()]


@pytest.fixture(autouse=True)
def _restore_dtype_policy():
    yield
    keras.config.set_dtype_policy("float32")
