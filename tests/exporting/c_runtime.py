"""Runs SavedModels in TensorFlow's C runtime, as a model server does.

A program of its own: neither Python's TensorFlow nor Keras nor tfpbnn is
imported. It loads the libraries of the installed wheel, forbids XLA as the
server's `main` does (for the whole process, for good), and does what it is told
on its standard input.
"""

import ctypes
import importlib.util
import os
import pathlib
import pickle
import sys
import threading
import time
import typing

import numpy as np

TYPES = {
    1: np.float32,
    2: np.float64,
    3: np.int32,
    9: np.int64,
    10: np.bool_,
}
STRING, STRING_SIZE = 7, 24
CODES = {np.dtype(kind): code for code, kind in TYPES.items()}
POINTERS = (
    "TF_AllocateTensor",
    "TF_GraphOperationByName",
    "TF_LoadSessionFromSavedModel",
    "TF_NewBuffer",
    "TF_NewGraph",
    "TF_NewSessionOptions",
    "TF_NewStatus",
    "TF_TensorData",
)
FORBIDDEN = ("tensorflow", "keras", "tfpbnn")
VOID, SIZE = ctypes.c_void_p, ctypes.c_size_t


class Output(ctypes.Structure):
    _fields_: typing.ClassVar = [("oper", VOID), ("index", ctypes.c_int)]


def library():
    spec = importlib.util.find_spec("tensorflow")
    folder = pathlib.Path(spec.submodule_search_locations[0])
    framework = folder / "libtensorflow_framework.so.2"
    ctypes.CDLL(str(framework), mode=ctypes.RTLD_GLOBAL)
    found = ctypes.CDLL(
        str(folder / "libtensorflow_cc.so.2"), mode=ctypes.RTLD_GLOBAL
    )
    found._ZN10tensorflow21DisableXlaCompilationEv()
    for name in POINTERS:
        getattr(found, name).restype = VOID
    found.TF_TensorByteSize.restype = SIZE
    found.TF_Message.restype = ctypes.c_char_p
    found.TF_Dim.restype = ctypes.c_int64
    return found


TF = library()


class Status:
    def __init__(self):
        self.handle = VOID(TF.TF_NewStatus())

    def check(self):
        code = TF.TF_GetCode(self.handle)
        message = TF.TF_Message(self.handle).decode()
        TF.TF_DeleteStatus(self.handle)
        if code:
            raise RuntimeError(message)


def fields(data):
    """(number, value) of each field of a protobuf message."""
    place = 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(data):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            yield number, varint()
            continue
        size = varint() if wire == 2 else {1: 8, 5: 4}[wire]
        yield number, data[place : place + size]
        place += size


def texts(entries):
    """A map's entries: (key, message)."""
    for entry in entries:
        parts = dict(fields(entry))
        yield parts[1].decode(), parts[2]


def tensor_info(data):
    name, code, shape = "", 0, []
    for number, value in fields(data):
        if number == 1:
            name = value.decode()
        elif number == 2:
            code = value
        elif number == 3:
            dims = [dict(fields(v)) for n, v in fields(value) if n == 2]
            sizes = [dim.get(1, 0) for dim in dims]
            shape = [None if size >= 2**63 else size for size in sizes]
    return name, code, shape


def signatures_of(meta_graph):
    """{signature: ({input: info}, {output: info})}."""
    found = {}
    entries = [v for n, v in fields(meta_graph) if n == 5]
    for key, message in texts(entries):
        maps = tuple(
            {
                name: tensor_info(info)
                for name, info in texts(
                    v for n, v in fields(message) if n == number
                )
            }
            for number in (1, 2)
        )
        if not key.startswith("__"):
            found[key] = maps
    return found


def to_tensor(array):
    is_text = array.dtype.kind in "OSU"
    dims = (ctypes.c_int64 * array.ndim)(*array.shape)
    code = STRING if is_text else CODES[array.dtype]
    size = array.size * STRING_SIZE if is_text else array.nbytes
    tensor = VOID(TF.TF_AllocateTensor(code, dims, array.ndim, SIZE(size)))
    data = TF.TF_TensorData(tensor)
    if not is_text:
        array = np.ascontiguousarray(array)
        ctypes.memmove(data, array.ctypes.data_as(VOID), array.nbytes)
        return tensor
    for place, text in enumerate(array.ravel()):
        raw = text if isinstance(text, bytes) else str(text).encode()
        at = VOID(data + place * STRING_SIZE)
        TF.TF_StringInit(at)
        TF.TF_StringCopy(at, raw, SIZE(len(raw)))
    return tensor


def to_array(tensor):
    tensor = VOID(tensor)
    shape = [TF.TF_Dim(tensor, i) for i in range(TF.TF_NumDims(tensor))]
    kind = TYPES[TF.TF_TensorType(tensor)]
    size = TF.TF_TensorByteSize(tensor)
    raw = ctypes.string_at(TF.TF_TensorData(tensor), size)
    TF.TF_DeleteTensor(tensor)
    return np.frombuffer(raw, kind).reshape(shape)


class Session:
    """A loaded SavedModel."""

    def __init__(self, path):
        status = Status()
        self.graph = VOID(TF.TF_NewGraph())
        buffer = VOID(TF.TF_NewBuffer())
        tags = (ctypes.c_char_p * 1)(b"serve")
        self.handle = VOID(
            TF.TF_LoadSessionFromSavedModel(
                VOID(TF.TF_NewSessionOptions()),
                None,
                str(path).encode(),
                tags,
                1,
                self.graph,
                buffer,
                status.handle,
            )
        )
        status.check()
        data, size = ctypes.cast(buffer, ctypes.POINTER(VOID))[0], SIZE
        length = ctypes.cast(buffer, ctypes.POINTER(size))[1]
        self.signatures = signatures_of(ctypes.string_at(data, length))

    def _output(self, name):
        operation, _, index = name.partition(":")
        found = TF.TF_GraphOperationByName(self.graph, operation.encode())
        return Output(found, int(index or 0))

    def run(self, signature, inputs):
        given, wanted = self.signatures[signature]
        if set(given) != set(inputs):
            raise RuntimeError(f"inputs must be {sorted(given)}")
        names, count = list(wanted), len(wanted)
        feeds = (Output * len(given))(
            *(self._output(given[name][0]) for name in given)
        )
        tensors = [to_tensor(np.asarray(inputs[name])) for name in given]
        values = (VOID * len(given))(*(t.value for t in tensors))
        fetches = (Output * count)(
            *(self._output(wanted[name][0]) for name in names)
        )
        results, status = (VOID * count)(), Status()
        arguments = (None, feeds, values, len(given), fetches, results, count)
        TF.TF_SessionRun(self.handle, *arguments, None, 0, None, status.handle)
        for tensor in tensors:
            TF.TF_DeleteTensor(tensor)
        status.check()
        return dict(zip(names, map(to_array, results), strict=True))

    def timed(self, signature, inputs, count):
        """Seconds of each of some runs, in which nothing else is done."""
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            self.run(signature, inputs)
            seconds.append(time.perf_counter() - start)
        return seconds

    def stress(self, signature, inputs, threads, requests):
        """The answers of many threads, their errors, and the seconds."""
        answers, errors = [], []

        def work():
            for _ in range(requests):
                try:
                    answers.append(self.run(signature, inputs))
                except RuntimeError as error:
                    errors.append(str(error))

        workers = [threading.Thread(target=work) for _ in range(threads)]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return answers, errors, time.perf_counter() - start


def main():
    """Answers (method, path, *arguments) with (is_ok, value), pickled."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    sessions = {}
    while True:
        try:
            method, path, *arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if path not in sessions:
                sessions[path] = Session(path)
            value = getattr(sessions[path], method)
            answer = True, value(*arguments) if callable(value) else value
        except RuntimeError as error:
            answer = False, str(error)
        assert not any(name in sys.modules for name in FORBIDDEN)
        pickle.dump(answer, channel)
        channel.flush()


if __name__ == "__main__":
    main()
