# SPDX-License-Identifier: Apache-2.0
"""Training steps in PyTorch, and the adapters' starting point; used by parity_train.py and golden_tiny.py. Not run by itself."""
import json

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]


def collate(torch, rows, pad):
    """Right-padded ids, mask and labels of [(ids, length of the prompt)]; the loss is on what follows the prompt."""
    width = max(len(ids) for ids, _ in rows)
    fill = lambda values, value: values + [value] * (width - len(values))
    return dict(input_ids=torch.tensor([fill(ids, pad) for ids, _ in rows]),
                attention_mask=torch.tensor([fill([1] * len(ids), 0) for ids, _ in rows]),
                labels=torch.tensor([fill([-100] * n + ids[n:], -100) for ids, n in rows]))


def train(torch, model, batches, lr):
    """AdamW steps on the model's trainable parameters: [loss], [norm of the whole gradient before the step]."""
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(params, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    model.config.use_cache = False
    model.train()
    losses, norms = [], []
    for batch in batches:
        loss = model(**batch).loss
        loss.backward()
        norms.append(sum(p.grad.double().square().sum() for p in params).sqrt().item())
        losses.append(loss.item())
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    return losses, norms


def initial_lora_A(numpy, module, rank, width):
    """LoRA's A as a formula that needs no random generator, so that C can start from the same numbers.

    Element k (row-major) of the A of module m (from 0, in the model's order) is (2 h - 1) / sqrt(width), h = mix(2654435761 m + k) / 2^32,
    where mix is the 32-bit finaliser of MurmurHash3. B starts at 0.
    """
    x = numpy.arange(rank * width, dtype=numpy.uint32) + numpy.uint32(module * 2654435761 % 2**32)
    x = (x ^ (x >> 16)) * numpy.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * numpy.uint32(0xC2B2AE35)
    x = x ^ (x >> 16)
    return ((x / 2.0**31 - 1) / width**0.5).astype(numpy.float32).reshape(rank, width)


def with_lora(torch, peft, numpy, model, rank, alpha, targets=TARGETS):
    """HF PEFT's LoRA with that A; its arithmetic stays PEFT's. Returns (model, {module path: (A, B)})."""
    model = peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"))
    start = {}
    for path, layer in model.base_model.model.named_modules():
        if isinstance(layer, peft.tuners.lora.Linear):
            a = initial_lora_A(numpy, len(start), rank, layer.in_features)
            with torch.no_grad():
                layer.lora_A.default.weight.copy_(torch.from_numpy(a))
            start[path] = (a, numpy.zeros((layer.out_features, rank), numpy.float32))
    return model, start


def write_adapter(h5py, numpy, path, start, rank, alpha, targets):
    """An adapter.h5 with `start` of with_lora, in Tapir's schema. It names no base, so it fits any with these layers."""
    config = dict(method="lora", options=dict(rank=rank, alpha=alpha, dropout=0.0), targets=targets)
    with h5py.File(path, "w", libver=("v110", "v110")) as f:
        texts = dict(tapir_format="tapir-checkpoint", tapir_requires="", tapir_writer="parity_train.py", tapir_kind="adapter")
        for name, value in texts.items():
            f.attrs[name] = numpy.bytes_(value.encode() + b"\0")
        f.attrs["tapir_format_major"], f.attrs["tapir_format_minor"] = numpy.uint32(1), numpy.uint32(0)
        f["config/adapter.json"] = numpy.frombuffer(json.dumps(config).encode(), numpy.uint8)
        for module, (a, b) in start.items():
            folder = "adapter/" + module.replace(".", "/")
            f[folder + "/lora_A"], f[folder + "/lora_B"] = a, b
        f.attrs["complete"] = numpy.uint8(1)
