"""Predictions of a server are logged to a monitor, by either protocol."""

import numpy as np
import pytest

from tests.client.conftest import PROTOCOLS
from tests.client.test_predictions import CLASSES, NORMAL, X, assert_close
from tfpbnn.client import TFServingClient, logging
from tfpbnn.monitor import UncertaintyMonitor


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_served_predictions_are_scored_with_their_labels(
    protocol, core, start, tmp_path
):
    url, y = start(protocol, core).url, X[:, 0]
    with UncertaintyMonitor(
        tmp_path / "m.db", NORMAL, reference_inputs=X
    ) as monitor:
        with TFServingClient(url, "bnn", monitor=monitor) as client:
            p = client.predict(X, ids=range(5))
            client.predict(X[:2])  # with ids of its own
        monitor.observe(range(5), y)
        status = monitor.status()
        assert status.counts["predictions"] == 7
        assert status.scores["rmse"] == pytest.approx(p.rmse(y), rel=1e-5)
        assert_close(
            monitor.find(2)["epistemic"], np.sqrt(p.epistemic_variance[2, 0])
        )


def test_what_a_monitor_refuses_is_warned_of_and_served(core, start, tmp_path):
    url = start("rest", core).url
    with UncertaintyMonitor(tmp_path / "m.db", CLASSES) as monitor:
        client = TFServingClient(url, "bnn", monitor=monitor)
        with client, pytest.warns(UserWarning, match="logged: `predictive`"):
            assert len(client.predict(X)) == len(X)
        assert monitor.status().counts["predictions"] == 0


class Listed(list):
    """A monitor that lists what is logged."""

    def log(self, ids, predictive, inputs):
        self.append((ids, predictive, inputs))


def test_several_outputs_have_a_monitor_each():
    price, kind = Listed(), Listed()
    both = {"price": NORMAL, "kind": CLASSES}
    logging.log({"price": price, "kind": kind}, None, both, X)
    assert price[0][0] == kind[0][0]
    assert len(set(price[0][0])) == len(X)
    assert kind[0][1] is CLASSES
    logging.log({"kind": kind}, ["a"] * 5, both, X)
    assert (len(price), len(kind)) == (1, 2)
    for wrong in (price, {"other": price}):
        with pytest.warns(UserWarning, match="`monitor` must be"):
            logging.log(wrong, None, both, X)
