"""These are the functions that an export offers, with what they take.

`inputs` names the inputs, `summaries` turns draws into outputs, `signatures`
joins the two, `warmups` writes example requests. To add a signature: a method
of `signatures.Signatures` and its name in `SIGNATURES` of `arguments`; an
output: `summaries`.
"""
