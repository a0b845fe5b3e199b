"""Exports go to folders of this machine, or TensorFlow's file systems."""

import contextlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator

import tensorflow as tf

# As "gs://"; a pathlib.Path of it has lost a slash. Drives have one letter.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)")
_HERE = "file://"
# What makes a folder a SavedModel, so that it comes last.
MODEL = "saved_model.pb"


class Place:
    """A place is the path of a file or folder, on any file system.

    Attributes:
        path: the path as a string, with a home folder written out.
        is_here: whether it is on this machine, where it can be renamed to.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Checks the path; nothing is read or written.

        Args:
            path: such as "served/wine/1", "~/served/wine/1" or
                "gs://bucket/wine/1".

        Raises:
            ValueError: if it is empty, or is a `pathlib.Path` of an address.
        """
        text = os.fspath(path)
        if not isinstance(text, str) or not text.strip("/"):
            raise ValueError(
                "`path` must be the name of a file or folder. Received: "
                f"path={path!r}"
            )
        if text.startswith(_HERE):
            text = text.removeprefix(_HERE)
        scheme = _SCHEME.match(text)
        if scheme and not scheme[2]:
            raise ValueError(
                "`path` must be a string if it is an address, since a "
                "pathlib.Path has one slash where addresses have two. "
                f"Received: path={path!r}. Use "
                f"path={scheme[1]}://{text[scheme.end() :]}, as a string."
            )
        self.is_here = scheme is None
        if self.is_here:
            text = os.path.abspath(os.path.expanduser(text))
        self.path = text.rstrip("/")

    @property
    def name(self) -> str:
        """This is the last part of the path."""
        return os.path.basename(self.path)

    @property
    def folder(self) -> str:
        """These are all parts of the path but the last."""
        return os.path.dirname(self.path)

    def exists(self) -> bool:
        """Returns whether there is something at the path.

        Raises:
            OSError: if the file system can't be reached.
            ValueError: if TensorFlow knows no such file system.
        """
        with self._explained():
            return tf.io.gfile.exists(self.path)

    def read(self, name: str) -> bytes | None:
        """Returns the contents of a file in the folder, None if there is none.

        Raises:
            OSError: as `exists`, which also says when a ValueError is raised.
        """
        file = f"{self.path}/{name}"
        with self._explained():
            is_there = tf.io.gfile.exists(file)
            if not is_there or tf.io.gfile.isdir(file):
                return None
            with tf.io.gfile.GFile(file, "rb") as opened:
                return bytes(opened.read())

    @contextlib.contextmanager
    def appearing(self) -> Iterator[pathlib.Path]:
        """Gives a path to write to, from where all is put in place at the end.

        Whatever has been written beside that path goes beside this one, and
        replaces what was there, unless an error is raised. On this machine that
        is one step, so that a server that watches the folder never sees half
        of a version. Other file systems can rename no folder in one step:
        there `saved_model.pb` comes last, and nothing can be loaded before.
        """
        if self.is_here:
            os.makedirs(self.folder, exist_ok=True)
        parent = self.folder if self.is_here else None
        made = tempfile.mkdtemp(prefix=f".{self.name}-", dir=parent)
        new = pathlib.Path(made, "new")
        new.mkdir()
        try:
            yield new / self.name
            if self.is_here:
                self._rename(new, pathlib.Path(made, "old"))
            else:
                with self._explained():
                    self._copy(new)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _rename(self, new: pathlib.Path, old: pathlib.Path) -> None:
        if os.path.exists(self.path):
            os.rename(self.path, old)
        for made in new.iterdir():
            made.replace(os.path.join(self.folder, made.name))

    def _copy(self, new: pathlib.Path) -> None:
        if tf.io.gfile.exists(self.path):
            remove = tf.io.gfile.rmtree
            is_folder = tf.io.gfile.isdir(self.path)
            (remove if is_folder else tf.io.gfile.remove)(self.path)
        files = [file for file in new.rglob("*") if file.is_file()]
        done: list[str] = []
        try:
            for file in sorted(files, key=lambda f: (f.name == MODEL, f)):
                to = f"{self.folder}/{file.relative_to(new).as_posix()}"
                tf.io.gfile.makedirs(os.path.dirname(to))
                done.append(to)
                tf.io.gfile.copy(str(file), to, overwrite=True)
        except tf.errors.OpError:
            for to in done:
                with contextlib.suppress(tf.errors.OpError):
                    tf.io.gfile.remove(to)
            raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Says of which path TensorFlow's errors are."""
        try:
            yield
        except tf.errors.UnimplementedError as error:
            raise ValueError(
                "`path` must be on a file system that TensorFlow knows: this "
                "machine's, gs://, or those of a package that was imported, "
                "as s3:// and hdfs:// of tensorflow-io. Received: "
                f"path={self.path!r}"
            ) from error
        except tf.errors.OpError as error:
            reason = error.message.split("\n", 1)[0]
            raise OSError(
                f"`path` must be on a file system that can be reached. "
                f"Received: path={self.path!r}, of which TensorFlow says: "
                f"{reason}"
            ) from error
