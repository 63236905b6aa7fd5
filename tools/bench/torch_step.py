# SPDX-License-Identifier: Apache-2.0
"""Times training steps of PyTorch, the peer that bench_step.py compares Tapir with. Prints one JSON line.

    python torch_step.py --model DIR [--method diablo] [--dtype f32] [--batch 4] [--seq 256] [--steps 8] [--threads 2] [--compile]

DIR is a Hugging Face directory; the tokens are random. Methods: frozen (forward and backward without anything to train), diablo (the
official code, whose block_linear.py is found through DIABLO_DIR), lora, dora (HF PEFT), full. bf16 is the model's own dtype
throughout, adapters and optimiser included. The times are those of a whole step (forward, backward, AdamW, reading the loss); min_s and
med_s leave out the first two. peak_mib is VmHWM of the whole process.
Needs: torch, transformers; peft for lora and dora.
"""
import argparse
import json
import os
import statistics
import sys
import time

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]


def peak_mib():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--method", choices=["frozen", "diablo", "lora", "dora", "full"], default="diablo")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    for name, value in dict(batch=4, seq=256, steps=8, threads=2, blocks=64, rank=16, alpha=32).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args()


def prepare(model, options):
    """Makes the model train what the method trains, and nothing else."""
    model.requires_grad_(options.method == "full")
    if options.method == "frozen":
        model.get_input_embeddings().register_forward_hook(lambda module, given, y: y.requires_grad_(True))
    elif options.method == "diablo":
        sys.path.insert(0, os.environ["DIABLO_DIR"])
        from block_linear import replace_linear_with_blocklinear
        replace_linear_with_blocklinear(model, num_blocks=options.blocks, drop_out=0.0, target_modules=TARGETS)
        for name, p in model.named_parameters():
            p.requires_grad_(name.endswith("block_A"))
    elif options.method in ("lora", "dora"):
        import peft
        config = peft.LoraConfig(r=options.rank, lora_alpha=options.alpha, lora_dropout=0.0, target_modules=TARGETS,
                                 use_dora=options.method == "dora")
        model = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    model.config.use_cache = False
    return model.train()


def main():
    options = arguments()
    start = time.perf_counter()
    import torch
    import transformers
    import_s, import_mib = time.perf_counter() - start, peak_mib()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    start = time.perf_counter()
    dtype = dict(f32=torch.float32, bf16=torch.bfloat16)[options.dtype]
    model = prepare(transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype), options)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=5e-4, weight_decay=0.0) if trained else None
    forward = torch.compile(model) if options.compile else model
    ids = torch.randint(0, model.config.vocab_size, (options.batch, options.seq))
    build_s = time.perf_counter() - start

    seconds, losses = [], []
    for _ in range(options.steps):
        start = time.perf_counter()
        loss = forward(input_ids=ids, labels=ids).loss
        loss.backward()
        if optimiser:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    warm = seconds[2:] or seconds
    result = dict(vars(options), torch=torch.__version__, trainable=sum(p.numel() for p in trained), import_s=import_s, build_s=build_s,
                  first_s=seconds[0], min_s=min(warm), med_s=statistics.median(warm), tokens_per_s=ids.numel() / min(warm),
                  import_mib=import_mib, peak_mib=peak_mib(), loss=[losses[0], losses[-1]])
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}))


main()
