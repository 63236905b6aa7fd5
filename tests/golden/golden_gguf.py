"""Makes tests/golden/gguf: a tiny GGUF file with every type that Tapir reads, and what the gguf package makes of it.

    python tests/golden/golden_gguf.py      (needs numpy, gguf, safetensors)

Blocks are random bytes with finite scales, so that every bit pattern of scales and values occurs, not only what a quantiser writes.
"""
import os

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gguf")
# bytes of each block that are a half-precision number
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}
COLS, HEADS, KV_HEADS, HEAD_DIM = 256, 2, 1, 4


def blocks(rng, qtype, rows):
    """Random rows of one quantised type, as bytes."""
    per, size = gguf.GGML_QUANT_SIZES[qtype]
    raw = rng.integers(0, 256, (rows * COLS // per, size), dtype=np.uint8)
    for at in HALVES[qtype]:
        half = rng.standard_normal(len(raw)).astype(np.float16) * np.float16(0.05)
        half[0] = np.float16(6e-8)  # the smallest subnormal
        raw[:, at:at + 2] = half.view(np.uint8).reshape(-1, 2)
    return raw.reshape(rows, -1)


def permute(w, heads):
    """Hugging Face's order of the rows of q and k to GGUF's."""
    return w.reshape(heads, 2, len(w) // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def main():
    os.makedirs(HERE, exist_ok=True)
    rng = np.random.default_rng(0)
    w = gguf.GGUFWriter(os.path.join(HERE, "types.gguf"), "llama")
    want = {}
    w.add_block_count(1)
    w.add_context_length(64)
    w.add_embedding_length(COLS)
    w.add_feed_forward_length(2)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_key_length(HEAD_DIM)
    w.add_rope_dimension_count(HEAD_DIM)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(500000.0)
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(2.5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list([b"<s>", b"</s>", b"a", b"b", b"ab", "é".encode()])
    w.add_token_types([3, 3, 1, 1, 1, 4])
    w.add_token_scores([0.0, -1.0, -2.5, 0.5, 1.0, 2.0])
    w.add_token_merges(["a b"])
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)
    w.add_add_bos_token(True)
    w.add_chat_template("{{ messages }}")
    w.add_array("test.numbers", [1, -2, 3])
    w.add_uint64("test.u64", 2**63)

    def add(name, hf, values, qtype=None):
        w.add_tensor(name, values, raw_dtype=qtype)
        want[hf] = gguf.quants.dequantize(values, qtype).astype(np.float32) if qtype else values.astype(np.float32)

    for qtype in HALVES:
        add(f"t.{qtype.name.lower()}", f"t.{qtype.name.lower()}", blocks(rng, qtype, 2), qtype)
    add("t.f32", "t.f32", rng.standard_normal((2, COLS)).astype(np.float32))
    add("t.f16", "t.f16", rng.standard_normal((2, COLS)).astype(np.float16))
    bf16 = gguf.quants.quantize(rng.standard_normal((2, COLS)).astype(np.float32), T.BF16)
    add("t.bf16", "t.bf16", bf16, T.BF16)
    add("token_embd.weight", "model.embed_tokens.weight", blocks(rng, T.Q8_0, 6), T.Q8_0)
    add("rope_freqs.weight", "rope_freqs.weight", np.array([1.0, 8.0], dtype=np.float32))
    for name, hf, heads in (("q", "q", HEADS), ("k", "k", KV_HEADS)):
        x = rng.standard_normal((heads * HEAD_DIM, COLS)).astype(np.float16).astype(np.float32)
        w.add_tensor(f"blk.0.attn_{name}.weight", permute(x, heads).astype(np.float16))
        want[f"model.layers.0.self_attn.{hf}_proj.weight"] = x
        b = rng.standard_normal(heads * HEAD_DIM).astype(np.float32)
        w.add_tensor(f"blk.0.attn_{name}.bias", permute(b[:, None], heads)[:, 0].copy())
        want[f"model.layers.0.self_attn.{hf}_proj.bias"] = b
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    save_file(want, os.path.join(HERE, "types.safetensors"), metadata={"made_by": "golden_gguf.py"})


main()
