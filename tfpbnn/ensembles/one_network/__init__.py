"""Members inside of one network: BatchEnsemble, Rank-1, packed, MIMO, masks.

Each file makes a plain network into one with members, of the layers in
`tfpbnn.layers.members`. To add a kind: a `MemberModel` and a function that
rewrites a network.
"""
