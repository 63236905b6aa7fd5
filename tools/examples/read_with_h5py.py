# SPDX-License-Identifier: Apache-2.0
"""Tapir's files without Tapir: what one holds, and how to write one, with h5py alone.

    python3 read_with_h5py.py adapter.h5          lists what is in it
    python3 read_with_h5py.py --write data.h5     writes a file of tensors that Tapir reads (checkpoints.c learns from it)
"""
import sys

import h5py
import numpy


def walk(group):
    for x in group.values():  # visititems would pass over second names
        if isinstance(x, h5py.Group):
            yield from walk(x)
        else:
            yield x.name[1:], x


def show(path):
    with h5py.File(path, "r") as f:
        for key, value in f.attrs.items():
            print(f"{key}: {value.decode() if isinstance(value, bytes) else value}")
        seen = {}
        for name, x in walk(f):
            first_name = seen.setdefault(h5py.h5o.get_info(x.id).addr, name)
            if first_name != name:  # tied weights are two names of one data set
                print(f"{name}: the same as {first_name}")
            elif name.startswith(("config/", "tokenizer/")):
                text = x[()].tobytes().decode()
                print(f"{name}: {len(text)} bytes of text, {text[:40]!r}")
            else:  # bf16 comes as float32, the type in the file has two bytes
                values = numpy.asarray(x[()])
                print(f"{name}: {x.dtype} of {x.id.get_type().get_size()} bytes, {list(x.shape)}, begins "
                      f"{values.ravel()[:3].tolist()}")


def write(path):
    rng = numpy.random.default_rng(1)
    x = rng.normal(size=(64, 5)).astype("f4")
    # This version of the format carries a checksum on all metadata; data sets are contiguous unless one asks for chunks.
    with h5py.File(path, "w", libver=("v110", "v110")) as f:
        f.attrs["tapir_format"] = numpy.bytes_("tapir-checkpoint")
        f.attrs["tapir_format_major"] = numpy.uint32(1)
        f.attrs["tapir_kind"] = numpy.bytes_("tensors")
        f["data/x"] = x
        f["data/y"] = x.sum(axis=1, keepdims=True)
        f["data/half/table"] = numpy.arange(6, dtype="f2").reshape(2, 3)
        f["data"].attrs["rows"] = numpy.int64(len(x))
        f.attrs["complete"] = numpy.uint8(1)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--write":
        write(sys.argv[2])
    elif len(sys.argv) == 2:
        show(sys.argv[1])
    else:
        sys.exit(__doc__)
