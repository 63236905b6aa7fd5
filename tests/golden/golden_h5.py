"""Makes tests/golden/h5: files written by h5py alone, as a stranger would, for Tapir to read.

    python tests/golden/golden_h5.py      (needs numpy, h5py)

What Tapir asks for: libver v110 or later, plain contiguous data sets, fixed-length texts, and the attributes below.  Hashes are optional.

    by_h5py.h5      an adapter: few members and attributes, which stand in the headers
    dense.h5        more than eight of both, which stand in heaps: links in a tree of two levels
    ordered.h5      the same with the order of creation tracked
    foreign.h5      no checkpoint: h5py's default layout, chunks, compression, other orders of bytes, for tp_file_open_trusted
    bomb.h5         16 GiB of values that are stored nowhere
"""
import os

import h5py
import numpy as np

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "h5")


def dense(name, ordered):
    """300 names of two data sets, so that the file stays small, and 20 attributes."""
    with h5py.File(os.path.join(HERE, name), "w", libver="latest", track_order=ordered) as f:
        for key, value in (("format", np.bytes_("tapir-checkpoint")), ("format_major", np.uint32(1)), ("kind", np.bytes_("tensors"))):
            f.attrs["tapir_" + key] = value
        for i in range(20):
            f.attrs[f"number{i}"] = np.uint64(i * i)
        group = f.create_group("model/many", track_order=ordered)
        for i in range(2):
            group[f"first{i}"] = np.arange(4, dtype=np.float32) + i
        for i in range(298):
            group[f"a_name_that_is_not_so_short_{i}"] = group[f"first{i % 2}"]
        for i in range(20):
            group.attrs[f"real{i}"] = i / 4
        f.attrs["complete"] = np.uint8(1)


def foreign():
    with h5py.File(os.path.join(HERE, "foreign.h5"), "w") as f:
        f["images/train"] = np.arange(24, dtype=">i2").reshape(2, 3, 4)
        f["double"] = np.arange(5, dtype=">f8") / 4
        f.create_dataset("packed", data=np.arange(600, dtype=np.float32).reshape(20, 30), chunks=(7, 11), compression="gzip",
                         shuffle=True, fletcher32=True)
        f["half"], f["flags"], f["scalar"] = np.arange(3, dtype=np.float16), np.array([True, False]), 7.25
        f["text"], f["complex"] = "passed over", np.zeros(3, np.complex64)
        f["images"].attrs["title"], f["packed"].attrs["scale"], f.attrs["count"] = "of variable length", 0.5, 3
        f["elsewhere"], f["again"] = h5py.ExternalLink("other.h5", "x"), h5py.SoftLink("/half")
    with h5py.File(os.path.join(HERE, "bomb.h5"), "w") as f:
        f.create_dataset("bomb", shape=(1 << 32,), dtype="f4", chunks=(1 << 20,))


def main():
    os.makedirs(HERE, exist_ok=True)
    foreign()
    dense("dense.h5", False)
    dense("ordered.h5", True)
    with h5py.File(os.path.join(HERE, "by_h5py.h5"), "w", libver=("v110", "v110")) as f:
        f.attrs["tapir_format"] = np.bytes_("tapir-checkpoint")
        f.attrs["tapir_format_major"] = np.uint32(1)
        f.attrs["tapir_kind"] = np.bytes_("adapter")
        f.attrs["step"] = np.uint64(7)
        f["config/adapter.json"] = np.frombuffer(b'{"method": "lora"}', dtype=np.uint8)
        f["adapter/layers/0/q_proj/lora_A"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        f["adapter/layers/0/q_proj/lora_B"] = np.arange(4, dtype=np.float16).reshape(2, 2)
        f["adapter/flags"] = np.array([True, False, True])
        f["adapter/ids"] = np.arange(3, dtype=np.int64)
        f["adapter/layers/0/q_proj"].attrs["blocks"] = 64
        f["adapter/layers/0/q_proj"].attrs["offset"] = np.int16(-3)
        f["adapter/layers/0/q_proj"].attrs["scale"] = 0.5
        f.attrs["complete"] = np.uint8(1)


main()
