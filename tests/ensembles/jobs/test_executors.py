"""Members as jobs of their own."""

import concurrent.futures
import functools
import os
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfpbnn
from tests.ensembles.deep.comparison import (
    FIT,
    assert_same,
    compiled,
    fitted_alone,
)
from tests.ensembles.deep.networks import X, Y, mlp
from tfpbnn.ensembles import (
    DeepEnsemble,
    HyperEnsemble,
    MemberTrainingError,
    RayExecutor,
    process_pool,
)


class Here(concurrent.futures.Executor):
    """Does jobs at once, but those of which it is told that they fail."""

    def __init__(self, fails=()):
        self.fails = fails
        self.count = 0

    def submit(self, fn, /, *args, **kwargs):
        future = concurrent.futures.Future()
        try:
            self.count += 1
            if self.count - 1 in self.fails:
                raise OSError("machine lost")
            future.set_result(fn(*args, **kwargs))
        except OSError as error:
            future.set_exception(error)
        return future


def test_processes(tmp_path):
    ensemble = compiled(num_members=2)
    alone = fitted_alone(ensemble, X, Y)
    with process_pool(1) as pool:
        history = ensemble.fit(
            X, Y, **FIT, executor=pool, directory=tmp_path / "members"
        )
    assert_same(ensemble, alone)
    assert np.shape(history.history["loss"]) == (2,)
    assert np.shape(ensemble.member_history["loss"]) == (2, 2)
    files = sorted(file.name for file in (tmp_path / "members").iterdir())
    assert files == ["member_0.keras", "member_1.keras"]


def test_a_failure_is_reported_and_retried_alone(tmp_path):
    ensemble = compiled(num_members=3)
    alone = fitted_alone(ensemble, X, Y)
    before = [ensemble.members[1]]
    (tmp_path / "mine.npy").write_text("not theirs to remove")
    jobs = {"directory": tmp_path} | FIT
    with pytest.raises(MemberTrainingError, match=r"member 1: OSError: mach"):
        ensemble.fit(X, Y, **jobs, executor=Here(fails=[1]))
    assert_same(ensemble.members[::2], alone[::2])
    assert_same(ensemble.members[1:2], before, atol=0)
    again = compiled(num_members=3)
    assert again.load_members(tmp_path) == [1]
    ensemble.fit(X, Y, **jobs, executor=Here(), members=[1])
    assert_same(ensemble, alone)
    assert ensemble.load_members(tmp_path) == []
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == [*(f"member_{n}.keras" for n in range(3)), "mine.npy"]


def test_weights_and_validation_data_reach_the_jobs():
    ensemble = compiled(num_members=2, bootstrap="poisson", seed=2)
    alone = list(ensemble.members)
    counts = ensemble.options.bootstrap_counts(len(X), 2)
    kwargs = FIT | {"validation_data": (X[:5], Y[:5])}
    stop = keras.callbacks.EarlyStopping(patience=1)
    for number, network in enumerate(alone):
        network.fit(X, Y, sample_weight=counts[:, number], **kwargs)
    ensemble.fit(X, Y, **kwargs, executor=Here(), callbacks=[stop])
    assert_same(ensemble, alone)
    assert "val_loss" in ensemble.member_history


def test_members_have_their_own_learning_rates():
    def build(width):
        return mlp(width)

    listed = [{"width": 8, "learning_rate": rate} for rate in (0.1, 0.001)]
    together = HyperEnsemble(build, listed)
    together.compile("sgd", loss=tfpbnn.likelihoods.Normal())
    alone = fitted_alone(together, X, Y)
    together.fit(X, Y, **FIT, executor=Here())
    assert_same(together, alone)


@pytest.fixture(scope="module")
def two_nodes():
    """A Ray cluster of two nodes with one processor each; their numbers.

    It ignores interrupts, as all that a shell starts in its background does.
    """
    ray = pytest.importorskip("ray", reason="needs ray")
    from ray.cluster_utils import Cluster

    # Ray lets others go first, and has to wait for all the other tests then.
    os.environ.setdefault("RAY_worker_niceness", "0")
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
    )
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address)
    signal.signal(signal.SIGINT, heard)
    yield {node["NodeID"] for node in ray.nodes()}
    ray.shutdown()
    cluster.shutdown()


def where():
    import ray

    return ray.get_runtime_context().get_node_id()


def test_ray(two_nodes, tmp_path):
    ensemble = compiled(num_members=2)
    alone = fitted_alone(ensemble, X, Y)
    with RayExecutor(num_cpus=1, scheduling_strategy="SPREAD") as executor:
        ensemble.fit(X, Y, **FIT, executor=executor, directory=tmp_path)
        jobs = [executor.submit(where) for _ in range(4)]
        assert {job.result() for job in jobs} == two_nodes
    assert_same(ensemble, alone)
    assert compiled(num_members=2).load_members(tmp_path) == []


class LosesTheFirst(RayExecutor):
    def submit(self, fn, /, *args, **kwargs):
        is_first = not self._futures
        return super().submit(lost if is_first else fn, *args, **kwargs)


def lost(*args, **kwargs):
    raise OSError("machine lost")


def test_ray_jobs_that_fail_are_named_and_run_again(two_nodes, tmp_path):
    ensemble = compiled(num_members=2)
    alone = fitted_alone(ensemble, X, Y)
    fit = {**FIT, "directory": tmp_path}
    with LosesTheFirst(num_cpus=1) as executor:
        with pytest.raises(MemberTrainingError, match=r"member 0: .*OSError"):
            ensemble.fit(X, Y, **fit, executor=executor)
        assert_same(ensemble.members[1:], alone[1:])
        ensemble.fit(X, Y, **fit, executor=executor, members=[0])
    assert_same(ensemble, alone)


def test_ray_jobs_are_stopped(two_nodes, tmp_path):
    """Those that run and those that wait; none goes on to its end."""

    def work(number):
        (tmp_path / f"begun {number}").touch()
        for _ in range(600):  # A task hears of it between two of Python's.
            time.sleep(0.1)
        (tmp_path / f"done {number}").touch()

    executor = RayExecutor(num_cpus=1)
    jobs = [executor.submit(functools.partial(work, n)) for n in range(3)]
    while not any(tmp_path.iterdir()):
        time.sleep(0.1)
    executor.shutdown(cancel_futures=True)
    assert all(job.exception() for job in jobs)
    assert not list(tmp_path.glob("done*"))
    with pytest.raises(RuntimeError, match="after `shutdown`"):
        executor.submit(work, 3)


def test_bad_arguments(tmp_path):
    ensemble = compiled()
    with pytest.raises(ValueError, match=r"`members` must be numbers.*: 2"):
        ensemble.fit(X, Y, executor=Here(), members=[2])
    with pytest.raises(ValueError, match="needs `executor`"):
        ensemble.fit(X, Y, members=[0])
    adversarial = compiled(adversarial_epsilon=0.1)
    with pytest.raises(ValueError, match="needs members that are trained tog"):
        adversarial.fit(X, Y, executor=Here())
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    with pytest.raises(ValueError, match="`x` must be arrays"):
        ensemble.fit(stream, executor=Here())
    with pytest.raises(TypeError, match=r"`executor` must have `submit`.*r=2"):
        ensemble.fit(X, Y, executor=2)
    with pytest.raises(FileNotFoundError, match=r"must be a folder.*nowhere"):
        ensemble.load_members(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`max_workers` must be a positive"):
        process_pool(0)
    assert isinstance(ensemble, DeepEnsemble)
    assert tfpbnn.predict(ensemble, X).num_samples == 2
