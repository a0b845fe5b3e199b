"""Low-rank adapters on whole models: added, trained, saved, merged.

`adding` puts `tfpbnn.layers.LoRA` in the place of layers that `targets` finds;
`files` saves adapters alone, `merging` adds them to the kernels, `reporting`
says what trains, and `training_free` gives trained adapters scales. To add a
method, see `tfpbnn/layers/lora`; to add something that is done with adapted
models, a file with a function of a model.
"""

from tfpbnn.lora.adding import add_lora
from tfpbnn.lora.files import load_adapters, save_adapters
from tfpbnn.lora.merging import merge
from tfpbnn.lora.reporting import Report, report
from tfpbnn.lora.training_free import tfb

__all__ = [
    "Report",
    "add_lora",
    "load_adapters",
    "merge",
    "report",
    "save_adapters",
    "tfb",
]
