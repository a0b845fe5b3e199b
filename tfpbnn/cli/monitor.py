"""Asks a monitor: `python -m tfpbnn monitor status --store monitor.db`."""

import argparse
from collections.abc import Callable
from typing import Any

from tfpbnn.monitor import UncertaintyMonitor

_HELP = """Says how a model in use is doing, from the store that its monitor
writes to."""


def add(commands: Any) -> None:
    """Adds the command to the parser's commands."""
    parser = commands.add_parser("monitor", help=_HELP, description=_HELP)
    actions = parser.add_subparsers(required=True, metavar="action")
    _action(actions, "status", _status, "prints the status")
    report = _action(actions, "report", _report, "writes a page")
    report.add_argument("--output", default="monitor.html", help="the page")
    serve = _action(
        actions, "serve-metrics", _serve, "serves metrics to Prometheus"
    )
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=9108)
    compact = _action(actions, "compact", _compact, "deletes what is old")
    compact.add_argument(
        "--keep", default="90d", help="for how long rows are kept"
    )
    compact.add_argument(
        "--keep-outputs",
        default="7d",
        help="for how long outputs of rows with labels are kept",
    )
    compact.add_argument(
        "--vacuum", action="store_true", help="make the file smaller too"
    )


def _action(
    actions: Any, name: str, run: Callable[..., None], help: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
    parser.add_argument(
        "--store",
        required=True,
        help="the path of an SQLite file, or a URL such as "
        "postgresql://user@host/name",
    )
    parser.add_argument("--name", default="default", help="of the monitor")
    parser.add_argument(
        "--window", default="7d", help="such as 7d, 12h, or 1000 predictions"
    )
    parser.set_defaults(run=_opened(run))
    return parser


def _opened(run: Callable[..., None]) -> Callable[..., None]:
    def with_monitor(given: argparse.Namespace) -> None:
        with UncertaintyMonitor.open(
            given.store, given.name, window=given.window
        ) as monitor:
            run(monitor, given)

    return with_monitor


def _status(monitor: UncertaintyMonitor, _: argparse.Namespace) -> None:
    print(monitor.status())


def _report(monitor: UncertaintyMonitor, given: argparse.Namespace) -> None:
    print(monitor.report(given.output))
    print(f"The page: {given.output}")


def _serve(monitor: UncertaintyMonitor, given: argparse.Namespace) -> None:
    server = monitor.serve_metrics(given.port, given.host)
    print(f"Serving http://{given.host}:{server.port}/metrics", flush=True)
    try:
        server.wait()
    except KeyboardInterrupt:
        server.close()


def _compact(monitor: UncertaintyMonitor, given: argparse.Namespace) -> None:
    found = monitor.compact(given.keep, given.keep_outputs, vacuum=given.vacuum)
    print(
        f"Deleted {found['predictions']:,} predictions, and the outputs of "
        f"{found['outputs']:,}."
    )
