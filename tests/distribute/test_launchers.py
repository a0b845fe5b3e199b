"""What starts workers: TF_CONFIG, Ray Train and Kubernetes."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest
import yaml

from tfpbnn.ensembles.jobs import executors

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "distributed"
NOTES_TASK = """
import json, os, pathlib, sys
config = json.loads(os.environ["TF_CONFIG"])
index = config["task"]["index"]
pathlib.Path(sys.argv[1], str(index)).write_text(json.dumps(config))
"""
SECOND_FAILS = """
import json, os, sys, time
if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
    sys.exit(3)
time.sleep(100)
"""


def launch(*command, timeout=60):
    launcher = FOLDER / "local_workers.py"
    return subprocess.run(
        [sys.executable, str(launcher), "2", *map(str, command)],
        env=os.environ | {"PYTHONPATH": str(FOLDER.parents[1])},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_each_local_worker_has_its_task(tmp_path):
    done = launch("-c", NOTES_TASK, tmp_path)
    assert done.returncode == 0, done.stderr
    found = [json.loads((tmp_path / str(i)).read_text()) for i in range(2)]
    assert [one["task"]["index"] for one in found] == [0, 1]
    hosts = found[0]["cluster"]["worker"]
    assert len(set(hosts)) == 2
    assert found[1]["cluster"]["worker"] == hosts


def test_a_worker_that_fails_ends_the_others():
    began = time.monotonic()
    assert launch("-c", SECOND_FAILS).returncode != 0
    assert time.monotonic() - began < 50


TEXT, COUNT, MANY = str, int, list
# Fields of kubeflow.org/v1 that a job must have, and those that are limited.
REQUIRED = {
    "apiVersion": TEXT,
    "kind": TEXT,
    "metadata": {"name": TEXT},
    "spec": {
        "runPolicy": {"cleanPodPolicy": TEXT, "backoffLimit": COUNT},
        "tfReplicaSpecs": {
            "Worker": {
                "replicas": COUNT,
                "restartPolicy": TEXT,
                "template": {"spec": {"containers": MANY, "volumes": MANY}},
            }
        },
    },
}
CONTAINER = {
    "name": TEXT,
    "image": TEXT,
    "command": MANY,
    "volumeMounts": MANY,
    "resources": {"limits": dict},
}


def assert_has(found, schema, path=""):
    if isinstance(schema, type):
        assert isinstance(found, schema), path
        return
    assert isinstance(found, dict), path
    for name, inner in schema.items():
        assert name in found, f"{path}.{name}"
        assert_has(found[name], inner, f"{path}.{name}")


def test_the_manifest_is_a_job_that_restarts_all_workers():
    job = yaml.safe_load((FOLDER / "tfjob.yaml").read_text())
    assert_has(job, REQUIRED)
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    assert re.fullmatch(
        "[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"]
    )
    spec = job["spec"]
    assert spec["runPolicy"]["cleanPodPolicy"] in ("None", "Running", "All")
    replicas = spec["tfReplicaSpecs"]
    assert set(replicas) <= {"Chief", "Worker", "Evaluator"}  # no servers
    worker = replicas["Worker"]
    # An exception's exit code counts as permanent for "ExitCode".
    assert worker["restartPolicy"] == "OnFailure"
    (container,) = worker["template"]["spec"]["containers"]
    assert_has(container, CONTAINER)
    assert container["name"] == "tensorflow"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    volumes = {one["name"] for one in worker["template"]["spec"]["volumes"]}
    assert mounted == volumes
    assert container["command"][:2] == ["python", "train.py"]


class Names(list):
    def get(self):
        return self.pop(0)


def test_processes_of_a_pool_take_one_device_each(monkeypatch):
    seen = []
    config = executors.tf.config

    def devices(kind):
        return [f"{kind} {index}" for index in range(2)]

    monkeypatch.setattr(config, "list_physical_devices", devices)
    monkeypatch.setattr(
        config, "set_visible_devices", lambda *args: seen.append(args)
    )
    for name in ("intra", "inter"):
        monkeypatch.setattr(
            config.threading, f"set_{name}_op_parallelism_threads", seen.append
        )
    names = Names(["GPU:0", "GPU:1"])
    for _ in range(2):
        executors._begin(1, names)
    assert seen == [1, 1, ("GPU 0", "GPU"), 1, 1, ("GPU 1", "GPU")]
    assert not names


@pytest.mark.parametrize(
    "kwargs",
    [{"devices": ["GPU:7"]}, {"devices": ["CPU:0"], "max_workers": 2}],
    ids=["unknown", "too few"],
)
def test_a_pool_needs_devices_that_are_there(kwargs):
    with pytest.raises(ValueError, match="`devices` must be one of"):
        executors.process_pool(**kwargs)


@pytest.mark.slow
def test_workers_share_the_members_of_an_ensemble(tmp_path):
    script = FOLDER / "ensemble.py"
    done = launch(script, "--smoke", "--directory", tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in tmp_path.glob("*.keras"))
    assert names == [f"member_{i}.keras" for i in range(4)]
    assert "all members" in done.stdout


@pytest.mark.slow
def test_ray_trains_with_two_workers(tmp_path):
    pytest.importorskip("ray.train.tensorflow", exc_type=ImportError)
    if not (FOLDER / "train.py").exists():
        pytest.skip("needs train.py")
    arguments = ["--smoke", "--backup", str(tmp_path / "backup")]
    done = subprocess.run(
        [
            sys.executable,
            str(FOLDER / "ray_train.py"),
            "--workers=2",
            *arguments,
        ],
        env=os.environ | {"PYTHONPATH": str(FOLDER.parents[1])},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 replicas: loss" in done.stdout + done.stderr
