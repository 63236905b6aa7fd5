# SPDX-License-Identifier: Apache-2.0
"""Makes the seeds of the binary formats in tests/fuzz/corpus: small files with one of each thing.

    python tests/fuzz/seeds.py      (needs numpy, h5py, gguf, safetensors)

The others are copies: config.json and tokenizer.json of tests/golden, lines of data of each kind.  hdf5/tapir.h5 is what Tapir writes.
"""
import os

import gguf
import h5py
import numpy as np
from safetensors.numpy import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def hdf5(name, members, ordered):
    with h5py.File(os.path.join(HERE, "hdf5", name), "w", libver="latest", track_order=ordered) as f:
        f.attrs["tapir_format"] = np.bytes_("tapir-checkpoint")
        f.attrs["tapir_format_major"] = np.uint32(1)
        f.attrs["tapir_kind"] = np.bytes_("tensors")
        f.attrs["complete"] = np.uint8(1)
        g = f.create_group("model/g", track_order=ordered)
        g["a"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        for i in range(members):
            g[f"name{i}"] = g["a"]
            g.attrs[f"k{i}"] = i


def main():
    hdf5("few.h5", 3, False)
    hdf5("dense.h5", 12, False)
    hdf5("tree.h5", 60, True)
    save_file({"a.b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.zeros(0, np.float16), "d": np.array([True, False])},
              os.path.join(HERE, "safetensors", "plain.safetensors"), {"format": "pt", "step": "7"})
    w = gguf.GGUFWriter(os.path.join(HERE, "gguf", "llama.gguf"), "llama")
    w.add_context_length(64)
    w.add_embedding_length(32)
    w.add_block_count(1)
    w.add_feed_forward_length(32)
    w.add_head_count(2)
    w.add_head_count_kv(1)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(10000.0)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(["<s>", "</s>", "a", "b", "ab"])
    w.add_token_types([3, 3, 1, 1, 1])
    w.add_token_merges(["a b"])
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)
    w.add_chat_template("{{ messages }}")
    w.add_tensor("token_embd.weight", np.zeros((5, 32), np.float32))
    w.add_tensor("blk.0.attn_q.weight", np.arange(1024, dtype=np.float16).reshape(32, 32) / 1024)
    w.add_tensor("blk.0.ffn_up.weight", gguf.quants.quantize(np.ones((32, 32), np.float32), gguf.GGMLQuantizationType.Q8_0),
                 raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main()
