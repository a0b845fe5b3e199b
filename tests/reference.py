"""The linear operations in NumPy loops, channels last."""

import itertools

import numpy as np


def _padded(x, sizes, strides, padding, dilation):
    pads = [(0, 0)]
    for axis, (k, s, d) in enumerate(
        zip(sizes, strides, dilation, strict=True), start=1
    ):
        reach = d * (k - 1)
        if padding == "causal":
            pads.append((reach, 0))
        elif padding == "same":
            n = x.shape[axis]
            total = max((-(-n // s) - 1) * s + reach + 1 - n, 0)
            pads.append((total // 2, total - total // 2))
        else:
            pads.append((0, 0))
    return np.pad(x, [*pads, (0, 0)])


def _patches(x, sizes, strides, padding, dilation):
    """`(position, patch [B, *sizes, I])` of every output position."""
    x = _padded(x, sizes, strides, padding, dilation)
    counts = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(
            x.shape[1:-1], sizes, strides, dilation, strict=True
        )
    ]
    for position in itertools.product(*map(range, counts)):
        rows = tuple(
            slice(p * s, p * s + d * (k - 1) + 1, d)
            for p, s, d, k in zip(
                position, strides, dilation, sizes, strict=True
            )
        )
        yield counts, position, x[(slice(None), *rows)]


def conv(x, kernel, strides, padding="valid", dilation=None, groups=1):
    sizes, filters = kernel.shape[:-2], kernel.shape[-1]
    dilation = dilation or (1,) * len(sizes)
    depth, width = x.shape[-1] // groups, filters // groups
    y = None
    for counts, position, patch in _patches(
        x, sizes, strides, padding, dilation
    ):
        if y is None:
            y = np.zeros((len(x), *counts, filters))
        for g in range(groups):
            part = patch[..., g * depth : (g + 1) * depth]
            weights = kernel[..., g * width : (g + 1) * width]
            y[(slice(None), *position)][:, g * width : (g + 1) * width] = (
                np.tensordot(part, weights, len(sizes) + 1)
            )
    return y


def depthwise_conv(x, kernel, strides, padding="valid", dilation=None):
    sizes, (channels, multiplier) = kernel.shape[:-2], kernel.shape[-2:]
    dilation = dilation or (1,) * len(sizes)
    y = None
    for counts, position, patch in _patches(
        x, sizes, strides, padding, dilation
    ):
        if y is None:
            y = np.zeros((len(x), *counts, channels * multiplier))
        for c, m in itertools.product(range(channels), range(multiplier)):
            y[(slice(None), *position, c * multiplier + m)] = np.tensordot(
                patch[..., c], kernel[..., c, m], len(sizes)
            )
    return y


def conv_transpose(x, kernel, strides, padding="valid"):
    sizes, filters = kernel.shape[:-2], kernel.shape[-2]
    counts = x.shape[1:-1]
    full = [
        (n - 1) * s + max(k, s)
        for n, s, k in zip(counts, strides, sizes, strict=True)
    ]
    y = np.zeros((len(x), *full, filters))
    for position in itertools.product(*map(range, counts)):
        for tap in itertools.product(*map(range, sizes)):
            at = tuple(
                p * s + t
                for p, s, t in zip(position, strides, tap, strict=True)
            )
            y[(slice(None), *at)] += x[(slice(None), *position)] @ kernel[tap].T
    if padding == "valid":
        return y
    crops = []
    for n, s, k in zip(counts, strides, sizes, strict=True):
        before = max(k - s, 0) // 2
        crops.append(slice(before, before + n * s))
    return y[(slice(None), *crops)]


def einsum(equation):
    """The sum of products over all indices, one by one."""
    left, outputs = equation.split("->")
    inputs, kernel = left.split(",")

    def apply(x, weights):
        size = dict(zip(inputs, x.shape, strict=True))
        size |= dict(zip(kernel, weights.shape, strict=True))
        letters = sorted(size)
        y = np.zeros([size[c] for c in outputs])
        for values in itertools.product(*(range(size[c]) for c in letters)):
            at = dict(zip(letters, values, strict=True))
            y[tuple(at[c] for c in outputs)] += (
                x[tuple(at[c] for c in inputs)]
                * weights[tuple(at[c] for c in kernel)]
            )
        return y

    return apply


def embedding(x, table):
    return np.stack([np.stack([table[i] for i in row]) for row in x])


def matrix(op, x, kernel_shape):
    """`op(x, kernel)` as a matrix, `[*outputs, *kernel_shape]`."""
    columns = []
    for index in np.ndindex(*kernel_shape):
        kernel = np.zeros(kernel_shape)
        kernel[index] = 1.0
        columns.append(op(x, kernel))
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(*stacked.shape[:-1], *kernel_shape)


def attention(query, value, key, kernels, biases, allowed):
    """Attention of rank 3, one query of one head after another.

    Args:
        query: `[B, T, F]`.
        value: `[B, S, G]`.
        key: `[B, S, H]`.
        kernels: by the part's name; keys and values may have fewer heads.
        biases: likewise.
        allowed: booleans `[B, T, S]`.
    """

    def project(x, part, head):
        return x @ kernels[part][:, head] + biases[part][head]

    heads, groups = kernels["query"].shape[1], kernels["key"].shape[1]
    outputs = np.zeros((*query.shape[:2], kernels["output"].shape[2]))
    outputs += biases["output"]
    for b, h in itertools.product(range(len(query)), range(heads)):
        group = h // (heads // groups)
        q = project(query[b], "query", h)
        k = project(key[b], "key", group)
        v = project(value[b], "value", group)
        for t in range(len(q)):
            powers = np.exp(k @ q[t] / np.sqrt(q.shape[1])) * allowed[b, t]
            mean = powers @ v / powers.sum()
            if "gate" in kernels:
                gate = project(query[b], "gate", h)[t]
                mean = mean / (1 + np.exp(-gate))
            outputs[b, t] += mean @ kernels["output"][h]
    return outputs
