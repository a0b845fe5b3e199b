"""Posteriors are exported for servers, phones and other run times.

`export` goes from the posterior's draws (`graphs`) to the functions that are
served (`signatures`) and to files (`formats`), which `files` puts where they
are to be; `lint` checks what servers refuse, `card` describes the model. To
add an answer, see `signatures`; a kind of file, `formats`.
"""

from tfpbnn.exporting.export import export
from tfpbnn.exporting.lint import lint_export

__all__ = ["export", "lint_export"]
