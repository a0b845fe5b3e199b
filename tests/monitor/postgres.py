"""A PostgreSQL server of its own, where there is one."""

import glob
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

BINARIES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
FOLDER = shutil.which("initdb") or (BINARIES and f"{BINARIES[-1]}/initdb")


def missing():
    """What is missing to start one, in words; "" if nothing is."""
    if not FOLDER:
        return "needs PostgreSQL's initdb"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "needs psycopg"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "needs the user postgres, since root can't run a server"
    return ""


class Server:
    """A server, with an empty database.

    Attributes:
        url: of the database.
    """

    def __init__(self):
        self._root = pathlib.Path(tempfile.mkdtemp(prefix="pg"))
        self._folder = self._root / "data"
        if os.geteuid() == 0:
            shutil.chown(self._root, "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._run("initdb", "-A", "trust", "-U", "test", "--no-sync")
        options = f"-p {port} -h 127.0.0.1 -k {self._root}"
        log = self._root / "log"
        self._run("pg_ctl", "start", "-w", "-o", options, "-l", str(log))
        self.url = f"postgresql://test@127.0.0.1:{port}/postgres"

    def stop(self):
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")
        shutil.rmtree(self._root, ignore_errors=True)

    def _run(self, program, *arguments):
        path = pathlib.Path(FOLDER).parent / program
        command = [str(path), "-D", str(self._folder), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(
            command,
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            timeout=60,
        )
