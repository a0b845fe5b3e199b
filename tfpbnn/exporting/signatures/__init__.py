"""The functions that an export offers, and their inputs and outputs.

`inputs` names the inputs, `summaries` turns draws into outputs, `signatures`
joins the two, `warmups` writes example requests. To add a signature: a method
of `signatures.Signatures` and its name in `SIGNATURES` of `arguments`; an
output: `summaries`.
"""
