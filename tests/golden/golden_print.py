# SPDX-License-Identifier: Apache-2.0
"""Writes print.json: tensors and what numpy's print makes of them, for tests/core/test_print.c.

    python golden_print.py

A row is a dtype, a shape, the values as texts, and the printed text. bf16 is printed as the f32 of the same values. Needs: numpy 2.4.
"""
import json

import numpy as np

import oracle

GOLDEN = oracle.HERE / "print.json"
KINDS = {"f64": np.float64, "f32": np.float32, "bf16": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32, "u8": np.uint8, "bool": np.bool_}
INF, NAN = float("inf"), float("nan")
SPECIAL = [[NAN], [INF, 1], [-INF, 0.5, 2.25], [NAN, -INF], [NAN, 1e-9, INF], [0.0, -0.0], [1e-5, 0], [999.5, 1], [1000.5, 1], [1001, 1],
           [1e6, 2e6], [999999, 1e6 - 2], [1e8, 1], [0.1, 0.25, -3], [1 / 3, 2 / 3], [-1e-4, 1e-4], [9.9999e-5], [123456.789, 1234.5678], [1e-30, 1e30],
           [1.5], [-7], [16777216, 16777218], [0.00012345678912, 0.1], [1234567.875, 1e7]]
ALONE = [0.0, -0.0, 1, -1.5, 0.1, 1 / 3, 1e-4, 9.99e-5, 123456789, 1e15, 1e16, 1.25e17, 2.5e-7, NAN, INF, -INF, 65504]
BIG = [[1e100, 1], [1e-300, 2], [5e-324, 1], [1.7976931348623157e308, 3], [0.123456789012345, 12345678.123456789], [1e7 + 0.1, 1e6 + 0.25]]


def bf16(a):
    bits = a.astype(np.float32).view(np.uint32).astype(np.uint64)
    out = (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(a), out, a).astype(np.float32)


def wave(*shape, scale=1.0):
    n = int(np.prod(shape))
    return (np.sin(np.arange(n) * 1.7 + 0.3).round(3 if n > 100 else 16) * scale).reshape(shape)


def floats(long):
    yield from (np.array(v, dtype=np.float64) for v in SPECIAL)
    yield from (np.array(v, dtype=np.float64) for v in ALONE)
    yield from (wave(*shape) for shape in [(7,), (3, 4), (2, 3, 4), (2, 1, 2, 3), (0,), (2, 0, 3), (1, 1), (40,), (3, 25)])
    yield from (wave(*shape) for shape in [(1001,), (1000,), (7, 150), (8, 7, 20), (30, 40)] if long)
    yield from [wave(5, 3, scale=1e-3), wave(4, 4, scale=3e5), np.arange(12.0).reshape(3, 4), np.zeros((2, 2))]


def integers():
    yield from [np.array(7), np.array([1, 20, 100]), np.arange(6).reshape(2, 3), np.arange(100), np.arange(1200) % 256, np.zeros((0, 4)), np.arange(60).reshape(3, 4, 5)]


def rows():
    for name, dtype in KINDS.items():
        if name in ("f64", "f32", "bf16", "f16"):
            cases = list(floats(name == "f32")) + (BIG if name == "f64" else [])
        elif name == "bool":
            cases = [np.array(True), np.array(False), np.arange(5) % 2, np.ones((2, 3)), np.arange(30).reshape(2, 15) % 3]
        else:
            cases = list(integers()) + ([] if name == "u8" else [np.array([-1, 5]), np.array([[-100, 7], [3, 2**31 - 1]])])
            cases += [np.array([2**62, -(2**63), 3])] if name == "i64" else []
        for a in cases:
            with np.errstate(over="ignore"):
                a = np.asarray(a).astype(dtype)
                a = bf16(a) if name == "bf16" else a
            yield {"dtype": name, "shape": list(a.shape), "values": values_of(a), "text": str(a)}


def values_of(a):
    """As few digits as give the value of that dtype again."""
    if a.dtype.kind in "iub":
        return " ".join(str(int(v)) for v in a.flatten())
    return " ".join(str(v) for v in a.flatten())


with np.errstate(over="ignore"), open(GOLDEN, "w", encoding="utf-8") as f:
    f.write("[\n" + ",\n".join(json.dumps(row) for row in rows()) + "\n]\n")
