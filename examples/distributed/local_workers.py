"""Starts a script as several workers of this machine, by TF_CONFIG alone.

For trying on one machine what is to run on several:

    python local_workers.py 2 train.py --epochs 10

On several machines start the script on each of them, with the TF_CONFIG that
`configurations` makes, and hosts that all can reach. When a worker fails the
others are ended, since they would wait for it.
"""

import json
import os
import socket
import subprocess
import sys
import time


def free_hosts(count):
    """Finds addresses of this machine that nothing listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return [f"127.0.0.1:{port}" for port in ports]


def configurations(hosts):
    """Makes the TF_CONFIG of each worker."""
    return [
        json.dumps(
            {
                "cluster": {"worker": hosts},
                "task": {"type": "worker", "index": index},
            }
        )
        for index in range(len(hosts))
    ]


def run(count, command):
    """Runs a command as so many workers; returns the worst exit code."""
    workers = [
        subprocess.Popen(command, env={**os.environ, "TF_CONFIG": config})
        for config in configurations(free_hosts(count))
    ]
    try:
        while any(worker.poll() is None for worker in workers):
            if any(worker.poll() for worker in workers):
                break
            time.sleep(0.1)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
    return max((abs(worker.returncode) for worker in workers), default=0)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), [sys.executable, *sys.argv[2:]]))
