# SPDX-License-Identifier: Apache-2.0
"""Writes nn.json: a small convolutional network and multi-head attention by PyTorch, in f64.

    python golden_nn.py            rewrite the file
    python golden_nn.py --check    compute again and compare (1e-12)

Element k of parameter number p (in the order of named_parameters, from 1) is ((37 k + 11 p) mod 97) / 97 - 1/2; those of the
network's input and of the gradients given to results are numbered 101 and 102, of attention's operands x and z 103 and 104.

"cnn": of the Sequential in cnn() below, two passes in training (the second on twice the input), with the first one's result and
gradients by name, the buffers after both, and the result in eval mode.  "attention": one case a line, "grads" by name, and by x, z.
Needs: torch.
"""
import json
import sys

import oracle

torch = oracle.module("torch")
PATH = oracle.HERE / "nn.json"


def values(p, shape):
    k = torch.arange(torch.Size(shape).numel())
    return (((37 * k + 11 * p) % 97).double() / 97 - 0.5).reshape(shape)


def fill(module):
    for p, (_, x) in enumerate(module.named_parameters(), 1):
        x.data = values(p, x.shape)
    return module


def flat(x):
    return x.detach().reshape(-1).tolist()


def cnn():
    nn = torch.nn
    net = fill(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Conv2d(4, 6, (3, 2), stride=(1, 2), groups=2, bias=False), nn.BatchNorm2d(6, momentum=0.25, eps=1e-3),
                             nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)).double())
    x = values(101, (3, 1, 8, 8))
    y = net(x)
    y.backward(values(102, y.shape))
    grads = {name: flat(p.grad) for name, p in net.named_parameters()}
    net(2 * x)
    buffers = {name: flat(b) for name, b in net.named_buffers()}
    return {"train": flat(y), "grads": grads, "buffers": buffers, "eval": flat(net.eval()(x))}


class Attention(torch.nn.Module):
    """torch.nn.MultiheadAttention through projections of its own."""
    def __init__(self, dim, heads, kv_dim):
        super().__init__()
        for name, width in dict(q_proj=dim, k_proj=kv_dim, v_proj=kv_dim, out_proj=dim).items():
            self.add_module(name, torch.nn.Linear(width, dim))
        self.heads = heads

    def forward(self, x, z, causal, lengths):
        q, k, v = self.q_proj, self.k_proj, self.v_proj
        mask = torch.ones(x.shape[1], z.shape[1]).triu(1 + z.shape[1] - x.shape[1]).bool() if causal else None
        padding = torch.arange(z.shape[1])[None] >= torch.tensor(lengths)[:, None] if lengths else None
        y, _ = torch.nn.functional.multi_head_attention_forward(
            x.transpose(0, 1), z.transpose(0, 1), z.transpose(0, 1), x.shape[-1], self.heads, None, torch.cat([q.bias, k.bias, v.bias]),
            None, None, False, 0.0, self.out_proj.weight, self.out_proj.bias, key_padding_mask=padding, attn_mask=mask, need_weights=False,
            use_separate_proj_weight=True, q_proj_weight=q.weight, k_proj_weight=k.weight, v_proj_weight=v.weight)
        return y.transpose(0, 1)


def attention(dim, heads, kv_dim, rows, keys, causal, lengths):
    layer = fill(Attention(dim, heads, kv_dim).double())
    x, z = values(103, (2, rows, dim)).requires_grad_(), values(104, (2, keys, kv_dim)).requires_grad_() if keys else None
    y = layer(x, x if z is None else z, causal, lengths)
    y.backward(values(102, y.shape))
    grads = {name: flat(p.grad) for name, p in layer.named_parameters()} | {"x": flat(x.grad)} | ({"z": flat(z.grad)} if keys else {})
    return {"dim": dim, "heads": heads, "kv_dim": kv_dim, "rows": rows, "keys": keys, "causal": causal, "lengths": lengths, "y": flat(y), "grads": grads}


def close(a, b):
    if isinstance(a, (list, dict)):
        pairs = zip(a, b) if isinstance(a, list) else ((a[k], b[k]) for k in a)
        return type(a) is type(b) and len(a) == len(b) and all(close(*p) for p in pairs)
    return a == b if not isinstance(a, float) else abs(a - b) <= 1e-12 * max(1.0, abs(b))


parser = oracle.arguments(__doc__)
parser.add_argument("--check", action="store_true")
options = parser.parse_args()
golden = {"cnn": cnn(), "attention": [attention(6, 2, 6, 4, 0, False, None), attention(6, 3, 6, 5, 0, True, [5, 3]), attention(4, 1, 3, 2, 5, False, [2, 5])]}
if options.check:
    same = close(golden, json.loads(PATH.read_text()))
    print(f"{PATH.name}: {'equal' if same else 'DIFFERENT'}")
    sys.exit(not same)
PATH.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(f"{PATH.name}: {PATH.stat().st_size:,} bytes")
