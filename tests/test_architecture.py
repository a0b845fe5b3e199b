"""The rules of the tree, held by reading it."""

import ast
import functools
import inspect
import pathlib
import pkgutil
import subprocess
import sys
import textwrap

import keras
import pytest

import tfpbnn

ROOT = pathlib.Path(tfpbnn.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TIERS = [
    {"base"},
    {"random", "likelihoods", "metrics", "plots"},
    {"networks", "fused"},
    {"families"},
    {"priors"},
    {"layers"},
    {"particles", "callbacks", "distribute", "dropout"},
    {"training", "prediction"},
    {
        "acquisition",
        "posteriors",
        "convert",
        "densities",
        "calibration",
        "diagnostics",
        "exporting",
        "client",
        "optimizers",
    },
    {"decisions", "ensembles", "lora", "ood", "sklearn"},
    {"mcmc", "monitor", "reporting"},
    {"cli"},
]
TIER = {name: i for i, names in enumerate(TIERS) for name in names}
FORBIDDEN = ("tf_keras", "keras.src", "tensorflow_probability.python.layers")


@pytest.fixture(
    scope="module", params=FILES, ids=lambda p: str(p.relative_to(ROOT))
)
def path(request):
    """Each file in turn: all rules read it before the next."""
    return request.param


@functools.lru_cache(maxsize=1)
def tree_of(path):
    return ast.parse(path.read_text())


def test_no_module_is_loose():
    """Each has a folder that is a concept."""
    loose = {p.name for p in ROOT.iterdir() if p.is_file()}
    assert loose <= {"__init__.py", "__main__.py", "py.typed"}


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.name == "__init__.py" and p.parent != ROOT]
)
def test_folders_say_what_they_hold_and_how_to_add(path):
    words = ast.get_docstring(tree_of(path)).split()
    assert len(words) > 15
    text = " ".join(words)
    assert ". To " in text or "How to add" in text


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def imports_of(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_down(path):
    module = module_of(path)
    if module in ("__init__", "__main__"):
        return
    for name in imports_of(path):
        if not name.startswith("tfpbnn."):
            continue
        target = name.split(".")[1]
        if module == "plots":
            # So that what is drawn is what is scored.
            known = ("metrics", "plots")
            assert target in known, f"plots imports {name}"
            continue
        assert TIER[target] <= TIER[module], f"{module} imports {name}"


def test_nothing_of_keras_2_or_private(path):
    for name in imports_of(path):
        assert not name.startswith(FORBIDDEN), name
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr in ("keras", "layers"):
            assert ast.unparse(node) not in ("tf.keras", "tfp.layers")


PRIVATE = ROOT / "base" / "keras_private.py"


def named_in(tree):
    """Attributes that code names, also by `getattr`, but not of itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


KERAS_PRIVATE = set(filter(is_private, named_in(tree_of(PRIVATE))))


def test_private_attributes_of_keras_have_one_file(path):
    if path == PRIVATE:
        return
    assert "_flatten_layers" in KERAS_PRIVATE
    found = KERAS_PRIVATE & set(named_in(tree_of(path)))
    assert not found, f"{path.name} names {found}: see base/keras_private.py"


KERAS_METHODS = {
    name
    for cls in (
        keras.layers.LSTM,
        keras.layers.LSTMCell,
        keras.layers.Attention,
        keras.Sequential,
        keras.optimizers.Adam,
    )
    for name in dir(cls)
    if inspect.isfunction(getattr(cls, name))
}


def owners_changed(tree):
    """The objects of which code sets methods, or any attribute by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            is_set = not isinstance(node.ctx, ast.Load)
            if is_set and node.attr in KERAS_METHODS:
                yield node.value
            if node.attr == "__dict__":
                yield node.value
        elif isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            if function in ("setattr", "delattr", "object.__setattr__"):
                yield node.args[0]
            elif function.startswith("vars(") and "." in function:
                method = function.rsplit(".", 1)[1]
                if method in ("update", "pop", "setdefault", "clear"):
                    yield node.func.value.args[0]
        elif isinstance(node, ast.Subscript):
            is_set = not isinstance(node.ctx, ast.Load)
            if is_set and ast.unparse(node.value).startswith("vars("):
                yield node.value.args[0]


def test_no_method_of_another_object_is_replaced(path):
    """Only of `self`, and of `new` objects: stand-ins and copies."""
    found = set(map(ast.unparse, owners_changed(tree_of(path))))
    allowed = {"self", "new"} if path.name in STAND_INS else {"self"}
    assert found <= allowed, f"{path.name} changes {found - allowed}"


# They make objects with the attributes of others.
STAND_INS = ("stand_ins.py", "keras_private.py", "states.py")


TESTS = pathlib.Path(__file__).parent


@pytest.mark.parametrize(
    "path",
    [*FILES, *sorted(TESTS.rglob("*.py"))],
    ids=lambda p: p.name,
)
def test_files_and_functions_are_short(path):
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.FunctionDef):
            continue
        body = [n for n in node.body if not is_docstring(n)]
        if body and node.name != "__init__":
            length = body[-1].end_lineno - body[0].lineno + 1
            assert length <= 40, f"{node.name} has {length} lines"


def is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_make_check_has_a_test_of_each_folder():
    chosen = (TESTS / "smoke.txt").read_text().splitlines()
    folders = {line.split("/")[1] for line in chosen}
    assert folders >= TIER.keys() & {p.name for p in TESTS.iterdir()}


def public_modules():
    names = [m.name for m in pkgutil.walk_packages([str(ROOT)], "tfpbnn.")]
    return [sys.modules[n] for n in names if n in sys.modules]


def public_classes():
    found = {
        value
        for module in public_modules()
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__.startswith("tfpbnn")
        and not name.startswith("_")
    }
    return sorted(found, key=lambda c: c.__qualname__)


def test_all_is_sorted_and_complete():
    for module in (
        tfpbnn,
        tfpbnn.families,
        tfpbnn.layers,
        tfpbnn.likelihoods,
        tfpbnn.plots,
        tfpbnn.priors,
    ):
        assert module.__all__ == sorted(module.__all__)
        for name in module.__all__:
            assert getattr(module, name) is not None


def is_ours(thing):
    module = getattr(thing, "__module__", None) or ""
    return module.startswith("tfpbnn.")


# FunctionalModel is what Keras makes of a Model.
BASES = {
    base
    for cls in public_classes()
    for base in cls.__mro__[1:]
    if is_ours(base) and base is not tfpbnn.Model
}


@pytest.mark.parametrize("cls", public_classes(), ids=lambda c: c.__qualname__)
def test_classes_are_abstract_or_final(cls):
    """What can be saved, and so made, has no subclasses in the package."""
    name = keras.saving.get_registered_name(cls)
    assert cls not in BASES or not name.startswith("tfpbnn>"), cls


LAYERS = [c for c in public_classes() if ".layers." in c.__module__]


@pytest.mark.parametrize("cls", LAYERS, ids=lambda c: c.__qualname__)
def test_few_classes_are_above_a_final_one(cls):
    """What a class needs beside its bases it has as parts."""
    above = [base for base in cls.__mro__[1:] if is_ours(base)]
    assert cls in BASES or len(above) <= 4, above


def does_nothing(node):
    """Whether a function is empty, but for its docstring and a `del`."""
    return isinstance(node, ast.FunctionDef) and all(
        isinstance(n, ast.Pass | ast.Delete) or is_docstring(n)
        for n in node.body
    )


@pytest.mark.parametrize("cls", LAYERS, ids=lambda c: c.__qualname__)
def test_no_class_cancels_a_method_that_it_inherits(cls):
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    for node in filter(does_nothing, tree.body[0].body):
        found = [getattr(base, node.name, None) for base in cls.__mro__[1:]]
        ours = [f for f in found if is_ours(f) and not is_abstract(f)]
        assert not ours, f"{node.name} of {ours[0].__qualname__} is cancelled"


def is_abstract(method):
    return getattr(method, "__isabstractmethod__", False)


@pytest.mark.parametrize("cls", public_classes(), ids=lambda c: c.__qualname__)
def test_classes_with_a_config_are_registered(cls):
    callback = issubclass(cls, keras.callbacks.Callback)
    regularizer = issubclass(cls, keras.regularizers.Regularizer)
    if cls in BASES or callback or regularizer:
        return
    if hasattr(cls, "get_config"):
        name = keras.saving.get_registered_name(cls)
        assert name.startswith("tfpbnn>")
        assert keras.saving.get_registered_object(name) is cls


def fresh(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3", **env},
        check=False,
    )


LIGHT = """
import contextlib, io, sys
import keras
before, out = set(sys.modules), io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    import tfpbnn
assert out.getvalue() == "", out.getvalue()
heavy = {"tensorflow_probability", "tf_keras", "matplotlib", "pandas",
         "scipy", "sklearn", "grpc", "tensorflow_serving", "sqlalchemy",
         "prometheus_client"}
heavy &= set(sys.modules) - before
assert not heavy, heavy
# What is set before TensorFlow starts can still be set.
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
"""


def test_import_is_light_and_silent():
    """What takes a second to import is imported where it is used."""
    result = fresh(LIGHT)
    assert result.returncode == 0, result.stderr


def test_another_backend_is_an_error_that_says_what_to_set(tmp_path):
    # Not every machine has another backend: a stand-in for keras.
    fake = tmp_path / "keras"
    fake.mkdir()
    (fake / "__init__.py").write_text(
        "class backend:\n    @staticmethod\n    def backend():\n"
        "        return 'jax'\n"
    )
    path = f"{tmp_path}:{ROOT.parent}"
    result = fresh("import tfpbnn", PYTHONPATH=path)
    assert result.returncode != 0
    assert "ImportError" in result.stderr
    assert "KERAS_BACKEND=tensorflow" in result.stderr
    assert '"jax"' in result.stderr
