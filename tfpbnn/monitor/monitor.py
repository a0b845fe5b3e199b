"""Watches a model that is in use."""

import datetime
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfpbnn.base import checks
from tfpbnn.monitor import arguments, pages, prometheus, records, windows
from tfpbnn.monitor.ledger import Alarm, Logged, Observed, Rows
from tfpbnn.monitor.setup import Model, Options, Setup
from tfpbnn.monitor.status import Status, summarize
from tfpbnn.monitor.writer import Writer, check_exists

_WEEK = datetime.timedelta(days=7)


class UncertaintyMonitor:
    """Watches the predictions of a model that is in use.

    It keeps what was predicted, scores it when labels come, and tests after
    each row whether uncertainties and inputs are those of the reference, and
    whether confidence is justified. A rate of false alarms holds however often
    one looks. Processes and threads may write to one store at once; each
    process makes a monitor of its own after it is forked.

    Args:
        store: the path of an SQLite file, which is made if it is missing, or a
            URL of SQLAlchemy's, such as "postgresql://user@host/name".
        reference: a `Predictive` of rows that the model was not trained on,
            to which later ones are compared; None for no tests of drift, or to
            open a monitor that there is.
        reference_y: the labels of these rows, to which later scores are
            compared; or None.
        reference_inputs: the inputs of these rows, to which later ones are
            compared, `[N, ...]`, a DataFrame, or a dict of arrays; or None.
        name: the name of the monitor in the store; one for each output of a
            model, and each version of it.
        window: what `status` is of: a `datetime.timedelta`, a number of
            predictions, or a text such as "7d".
        on_alarm: a function that is called with each new `Alarm`, in one of
            the processes.
        buffer: how many rows `log` may hold in memory, to write them at once.
            With 0, what `log` has returned is written for good.
        alpha: the probability that there is ever a false alarm, of all tests
            together (0.01 by default).
        control: "ever" (the default), or "run" for faster alarms, of which a
            false one comes after `1 / alpha` rows or more in the mean.
        tolerance: how far the coverage of 90 % intervals, and the mean
            confidence, may be from what they promise (0.02 by default).
        keep_draws: whether draws of numbers are kept until labels come (the
            default). False keeps means and variances only, and scores those
            predictions as Normals.
        clock: a function that returns the time, in seconds since 1970.

    Raises:
        ImportError: if SQLAlchemy is not installed: `pip install
            tfpbnn[monitor]`.
        ValueError: if an argument is not as above, if a newer version wrote to
            the store, or if there is a monitor of this name with another
            reference or other options.

    Example:
    ```python
    monitor = tfpbnn.monitor.UncertaintyMonitor(
        "monitor.db", tfpbnn.predict(model, x), reference_y=y
    )
    ids = [f"request-{i}" for i in range(len(x_test))]
    monitor.log(ids, tfpbnn.predict(model, x_test))
    monitor.observe(ids[:10], y_test[:10])           # as labels come
    print(monitor.status())
    ```

    Reference:
        [Waudby-Smith and Ramdas, 2024](https://arxiv.org/abs/2010.09686);
        [Podkopaev and Ramdas, 2022](https://arxiv.org/abs/2110.06177)
    """

    def __init__(
        self,
        store: Any,
        reference: Any = None,
        *,
        reference_y: Any = None,
        reference_inputs: Any = None,
        name: str = "default",
        window: Any = _WEEK,
        on_alarm: Callable[[Alarm], Any] | None = None,
        buffer: int = 0,
        alpha: float | None = None,
        control: str | None = None,
        tolerance: float | None = None,
        keep_draws: bool | None = None,
        clock: Callable[[], float] = time.time,
    ):
        if not isinstance(name, str) or not name:
            raise ValueError(f"`name` must be a text. Received: name={name!r}")
        checks.integer("buffer", buffer, least=0)
        self.name, self.window = name, windows.checked(window)
        self._clock = clock
        chosen = arguments.options(alpha, control, tolerance, keep_draws)
        made = arguments.setup(
            Options(**chosen), reference, reference_y, reference_inputs
        )
        self._writer = Writer(
            os.fspath(store), name, made, clock, buffer, on_alarm
        )
        self._check_same(made, chosen)

    @classmethod
    def open(
        cls, store: Any, name: str = "default", **options: Any
    ) -> "UncertaintyMonitor":
        """Opens a monitor that there is; makes none.

        Args:
            store, name: as in the constructor.
            **options: `window`, `on_alarm`, `buffer` and `clock`, likewise.

        Raises:
            LookupError: if there is no such store, or no monitor in it.
        """
        check_exists(os.fspath(store), name)
        return cls(store, name=name, **options)

    def _check_same(self, made: Setup, chosen: dict[str, Any]) -> None:
        """Checks that the monitor of this name is the one that is meant."""
        found = self._setup
        differ = [
            name
            for name, value in chosen.items()
            if getattr(found.options, name) != value
        ]
        if made.variables and not made.has_reference_of(found):
            differ.append("reference")
        if differ:
            self._writer.close()
            raise ValueError(
                f"`{differ[0]}` must be what the monitor {self.name!r} of this "
                "store was made with, or be left out to open it. Received: "
                f"another {' and '.join(differ)}; take another `name` for it"
            )

    @property
    def _setup(self) -> Setup:
        return self._writer.setup

    def log(
        self,
        ids: Any,
        predictive: Any,
        meta: Mapping[str, Any] | None = None,
        inputs: Any = None,
    ) -> Logged:
        """Keeps predictions, as they are served.

        If the store can't be written, a warning says so, and the loss is
        counted: predictions go on.

        Args:
            ids: the names of N rows, texts, integers or UUIDs, all different;
                7 and "7" are the same. Of ids that were there before the first
                prediction stays.
            predictive: their `Predictive`.
            meta: what else is to be kept with them, by name: one value for
                all rows, or N of them.
            inputs: the inputs of the rows, in the form of the reference's.
                They are counted and tested, and not kept; without
                `reference_inputs` they are not looked at.

        Returns:
            A `Logged`: how many were written, known, lost, or are pending.

        Raises:
            TypeError: if `predictive` is none, or ids are of another kind.
            ValueError: if there is not one id for each row, if they are not
                all different, if inputs lack a column of the reference, or if
                predictions are of another model than those before.
        """
        setup = self._setup
        kept = records.kept(predictive, setup.options.keep_draws)
        count = len(predictive)
        names = arguments.ids(ids, count)
        if len(set(names)) < len(names):
            raise ValueError(
                "`ids` must be all different. Received: "
                f"{len(names) - len(set(names))} of them again"
            )
        if not names:
            return Logged()
        model = Model.of(kept)
        model.check_same(setup.model)
        arguments.check_draws(setup, predictive.num_samples)
        columns = arguments.inputs(inputs, setup.features, count)
        texts = arguments.texts(meta, count)
        rows = Rows(names, model, kept, columns, texts, self._clock())
        return self._writer.log(rows)

    def flush(self) -> Logged:
        """Writes the rows that `log` holds in memory.

        Returns:
            What became of all of them.
        """
        return self._writer.flush()

    def observe(self, ids: Any, y: Any) -> Observed:
        """Keeps labels, as they come: late, twice, or before predictions.

        Labels of unknown ids wait for a prediction. A label that differs from
        the one before replaces it in scores; tests can't be taken back.

        Args:
            ids: the ids of N rows.
            y: their labels, or targets: one row for each.

        Returns:
            An `Observed`: how many were scored, wait, were known or ignored.

        Raises:
            TypeError: if labels are no numbers.
            ValueError: if there is not one label for each id, or they don't
                fit the predictions.
        """
        y = np.atleast_1d(np.asarray(y))
        names = arguments.ids(ids, len(y))
        if not names:
            return Observed()
        self.flush()
        model = self._setup.model
        if model is None:
            with self._writer.reading():  # another process may know it by now
                model = self._setup.model
        labels = records.as_numbers(y) if model is None else model.check(y)
        return self._writer.observe(names, labels)

    def status(self, window: Any = None) -> Status:
        """Says how the model is doing, in plain words.

        Args:
            window: what it is of; None for that of the monitor.

        Returns:
            A `Status`, which prints as a few sentences.
        """
        chosen = self.window if window is None else windows.checked(window)
        self.flush()
        with self._writer.reading() as transaction:
            return summarize(
                self._setup,
                transaction,
                chosen,
                self._clock(),
                self._writer.lost,
            )

    def report(
        self,
        path: Any = "monitor.html",
        window: Any = None,
        *,
        most_rows: int = 2000,
        n_boot: int = 200,
    ) -> Status:
        """Writes a page: status, time lines, and the evaluation of labels.

        Args:
            path: the file to write.
            window: what it is of; None for that of the monitor.
            most_rows: of how many of the last rows with labels the scores and
                figures of `tfpbnn.report` are.
            n_boot: the number of resamples of rows for intervals.

        Returns:
            The `Status` that the page begins with.

        Raises:
            ImportError: if Jinja2 or matplotlib is not installed.
        """
        checks.positive_integer("most_rows", most_rows)
        pages.check_installed()
        status = self.status(window)
        since = windows.since(status.window, self._clock())
        with self._writer.reading() as transaction:
            buckets = windows.within(status.window, transaction.buckets(since))
            timeline = pages.Timeline.of(self._setup, list(buckets))
            rows = transaction.scored(most_rows)
        pages.write(
            path, self.name, self._setup, status, timeline, rows, n_boot
        )
        return status

    def metrics(self) -> dict[str, float]:
        """Returns the numbers of `status` by name, as Prometheus has them."""
        return prometheus.numbers(self.status())

    def serve_metrics(self, port: int = 9108, host: str = "127.0.0.1") -> Any:
        """Serves the metrics to Prometheus, in a thread.

        Args:
            port: of HTTP; 0 for one that is free.
            host: the address to listen at: that of this machine alone.

        Returns:
            The server, with `.port` and `.close()`.

        Raises:
            ImportError: if `prometheus_client` is not installed.
        """
        return prometheus.Server(self, port, host)

    def restart(self) -> None:
        """Ends all alarms, and begins tests anew: once all is well again."""
        self._writer.restart()

    def compact(
        self, keep: Any = "90d", keep_outputs: Any = "7d", vacuum: bool = False
    ) -> dict[str, int]:
        """Deletes what is old. Sums over time stay, and so does status.

        Args:
            keep: for how long predictions and labels are kept; what has no
                label by then is never scored.
            keep_outputs: for how long the outputs of predictions with labels
                are kept, which only reports and changed labels need.
            vacuum: whether the file gets smaller too, which takes time and
                stops other writers.

        Returns:
            How many "predictions" and "outputs" were deleted.
        """
        now = self._clock()
        ages = [windows.checked(each) for each in (keep, keep_outputs)]
        if not all(isinstance(age, datetime.timedelta) for age in ages):
            raise ValueError(
                "`keep` and `keep_outputs` must be times, such as '90d'. "
                f"Received: keep={keep!r}, keep_outputs={keep_outputs!r}"
            )
        rows, outputs = self._writer.delete(
            *(windows.since(age, now) for age in ages)
        )
        if vacuum:
            self._writer.vacuum()
        return {"predictions": rows, "outputs": outputs}

    def find(self, id: Any) -> dict[str, Any] | None:
        """Returns what is known of a row: its prediction, meta and label.

        Args:
            id: its id.

        Returns:
            A dict with "time", "epistemic", "aleatoric", "meta", "label_time",
            "y" and "nll", None where unknown; None if there is nothing.
        """
        (key,) = arguments.ids([id], 1)
        with self._writer.reading() as transaction:
            return transaction.describe(key)

    def close(self) -> None:
        """Writes what is in memory, and closes the store."""
        self._writer.close()

    def __enter__(self) -> "UncertaintyMonitor":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
