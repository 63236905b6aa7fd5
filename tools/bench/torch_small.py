# SPDX-License-Identifier: Apache-2.0
"""The cases of bench_small.c in PyTorch: python torch_small.py mlp|gpt32|gpt1|cnn|ops THREADS [--compile]; prints the same lines."""
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

VOCAB, WIDE, HEADS, LAYERS, CONTEXT, OPS_N = 65, 128, 4, 4, 64, 1 << 24


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDE), nn.LayerNorm(WIDE)
        self.qkv, self.out = nn.Linear(WIDE, 3 * WIDE), nn.Linear(WIDE, WIDE)
        self.up, self.down = nn.Linear(WIDE, 4 * WIDE), nn.Linear(4 * WIDE, WIDE)

    def forward(self, x):
        n, s, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, s, 3, HEADS, WIDE // HEADS).permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(o.transpose(1, 2).reshape(n, s, WIDE))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.place = nn.Embedding(VOCAB, WIDE), nn.Parameter(torch.randn(CONTEXT, WIDE))
        self.layers, self.norm, self.head = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDE), nn.Linear(WIDE, VOCAB)

    def forward(self, ids):
        x = self.token(ids) + self.place
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)).flatten(0, -2)


def train(net, x, want, steps, compiled):
    """Seconds of a step, the quickest of several rounds; AdamW as it comes (foreach is PyTorch's own choice)."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    run = torch.compile(net) if compiled else net
    best = float("inf")
    for _ in range(12):
        t = time.perf_counter()
        for _ in range(steps):
            loss = F.cross_entropy(run(x), want)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        best = min(best, (time.perf_counter() - t) / steps)
    return best


def gpt(batch, compiled):
    ids = torch.randint(VOCAB, (batch, CONTEXT))
    return train(GPT(), ids, torch.randint(VOCAB, (batch * CONTEXT,)), 4 if batch > 1 else 40, compiled)


def cnn(compiled):
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(32 * 16, 10))
    return train(net, torch.randn(64, 1, 8, 8), torch.randint(10, (64,)), 50, compiled)


def ops():
    a, b, y = torch.randn(OPS_N), torch.randn(OPS_N), torch.empty(OPS_N)
    mask, rows = a > b, a.view(4096, -1)
    cases = {"copy": lambda: y.copy_(a), "add": lambda: a + b, "mul": lambda: a * b, "relu": lambda: torch.relu(a),
             "where": lambda: torch.where(mask, a, b), "bf16": lambda: a.bfloat16(), "f64": lambda: a.double(), "sum": lambda: a.sum(),
             "max": lambda: a.max(), "exp": lambda: torch.exp(a), "tanh": lambda: torch.tanh(a), "erf": lambda: torch.erf(a),
             "gelu": lambda: F.gelu(a), "softmax": lambda: torch.softmax(rows, -1)}
    with torch.no_grad():
        for name, run in cases.items():
            best = float("inf")
            for _ in range(12):
                t = time.perf_counter()
                run()
                best = min(best, time.perf_counter() - t)
            print(f"{name} {best:.4e}")


def main():
    case, compiled = sys.argv[1], "--compile" in sys.argv
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(0)
    if case == "ops":
        ops()
        return
    if case == "mlp":
        net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        seconds = train(net, torch.randn(32, 64), torch.randint(10, (32,)), 500, compiled)
    else:
        seconds = {"gpt32": lambda: gpt(32, compiled), "gpt1": lambda: gpt(1, compiled), "cnn": lambda: cnn(compiled)}[case]()
    print(f"{case} {seconds:.4e}")


main()
