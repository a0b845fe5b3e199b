"""Watches a model in use: are its uncertainties still worth what they were?

`monitor` is what users call; `records` keeps of predictions what scores them,
`ledger` does what a write has to do in one transaction of `store`, `signals`
says what is tested and `sequential` how, `sums` adds up what `status` says. To
add a number that is tested: in `signals`; one that is shown: in `sums` and
`status`; a database: nothing, if SQLAlchemy knows it.
"""

from tfpbnn.monitor.ledger import Alarm, Logged, Observed
from tfpbnn.monitor.monitor import UncertaintyMonitor
from tfpbnn.monitor.request_logs import LoggedRequest, read_request_logs
from tfpbnn.monitor.sequential import BettingTest
from tfpbnn.monitor.status import Status

__all__ = [
    "Alarm",
    "BettingTest",
    "Logged",
    "LoggedRequest",
    "Observed",
    "Status",
    "UncertaintyMonitor",
    "read_request_logs",
]
