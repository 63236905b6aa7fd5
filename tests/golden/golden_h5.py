"""Makes tests/golden/h5/by_h5py.h5: an adapter written by h5py alone, as a stranger would, for Tapir to read.

    python tests/golden/golden_h5.py      (needs numpy, h5py)

What Tapir asks for: libver v110, plain contiguous data sets, fixed-length texts, at most eight members or attributes of a group (more
stand outside of its header), and the attributes below.  Hashes are optional.
"""
import os

import h5py
import numpy as np

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "h5")


def main():
    os.makedirs(HERE, exist_ok=True)
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
