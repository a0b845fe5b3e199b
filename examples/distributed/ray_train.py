"""Starts `train.py` on a Ray cluster, by Ray Train's TensorflowTrainer.

It needs `pip install "tfpbnn[ray]"`. Ray starts the workers, on whichever
machines the cluster has, and gives each its TF_CONFIG; `train.py` is the same
as anywhere. Whatever is given to this script is given to it:

    python ray_train.py --workers 2 --epochs 10 --backup /shared/backup

Ray sets TF_USE_LEGACY_KERAS, which is for `tf.keras`: this package and the
script import `keras`, which stays Keras 3.
"""

import argparse
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent


def work(settings):
    """Runs the script in a worker."""
    import runpy

    sys.argv[1:] = settings["arguments"]
    runpy.run_path(settings["script"], run_name="__main__")


def main(workers, arguments, use_gpu=False, script=FOLDER / "train.py"):
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    trainer = TensorflowTrainer(
        work,
        train_loop_config={"script": str(script), "arguments": arguments},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        # All are started again, and go on from the last backup.
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    )
    try:
        return trainer.fit()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--use-gpu", action="store_true")
    own, others = parser.parse_known_args()
    main(own.workers, others, own.use_gpu)
