"""Ensembles whose members are inside of one network.

They are BatchEnsemble, Rank-1, packed ensembles, MIMO and Masksembles.

Each file makes a plain network into one with members, of the layers in
`tfpbnn.layers.members`. To add a kind: a `MemberModel` and a function that
rewrites a network.
"""
