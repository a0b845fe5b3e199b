"""What can't be right is refused, or warned of, before a step."""

import json

import pytest

import tfpbnn
from tests.distribute.refused import CASES
from tests.distribute.test_parity import results
from tfpbnn.distribute import starting


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    return results(tmp_path_factory.mktemp("refused"), "errors")


@pytest.mark.parametrize("name", CASES)
def test_the_message_says_what_to_do(messages, name):
    words = CASES[name][1]
    assert words in messages[name], messages[name]


@pytest.mark.parametrize(
    ("rows", "count", "is_short"),
    [(0, 2, False), (1, 2, True), (2, 2, False), (5, 4, True), (10, 4, False)],
)
def test_batches_that_leave_a_replica_without_rows(rows, count, is_short):
    assert starting.leaves_none(rows, count) == is_short


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "no JSON"),
        ("[]", None),
        ('{"cluster": 3}', "cluster=3"),
        ("one", "no JSON"),
        ("cluster", "a task of type None"),
        ("type", "a task of type 'driver'"),
        ("index", "a task of index 2 among 2"),
        ("text", "a task of index '0'"),
        ("ps", "parameter servers"),
    ],
    ids=str,
)
def test_tf_config(monkeypatch, config, words):
    cluster, task = {"worker": ["a:1", "b:1"]}, {"type": "worker", "index": 0}
    made = {
        "cluster": {"cluster": cluster},
        "type": {"cluster": cluster, "task": task | {"type": "driver"}},
        "index": {"cluster": cluster, "task": task | {"index": 2}},
        "text": {"cluster": cluster, "task": task | {"index": "0"}},
        "ps": {"cluster": cluster | {"ps": ["c:1"]}, "task": task},
    }
    text = json.dumps(made[config]) if config in made else config
    monkeypatch.setenv("TF_CONFIG", text)
    if words is None:  # it names no workers
        assert tfpbnn.distribute.strategy().num_replicas_in_sync == 1
        return
    with pytest.raises(ValueError, match="`TF_CONFIG` must") as error:
        tfpbnn.distribute.strategy()
    assert words in str(error.value)
