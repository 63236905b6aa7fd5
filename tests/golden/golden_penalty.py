# SPDX-License-Identifier: Apache-2.0
"""Writes penalty.json: a critic trained with a gradient penalty in PyTorch, in f64, for the test of second derivatives.

    python golden_penalty.py

x, w1, b1, w2 are where it begins, loss one number a step, "after" what the weights are then. A step is plain descent of
mean(y) + 10 mean((|dy/dx| - 1)^2) with y = tanh(x w1^T + b1) w2^T. Needs: torch.
"""
import json

import oracle

torch = oracle.module("torch")
torch.set_default_dtype(torch.float64)
GOLDEN = oracle.HERE / "penalty.json"
STEPS, RATE = 6, 0.02


def wave(n, step, start):
    return torch.sin(torch.arange(n) * step + start)


def loss_of(x, w1, b1, w2):
    x = x.clone().requires_grad_()
    y = torch.tanh(x @ w1.T + b1) @ w2.T
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    length = (g.square().sum(1) + 1e-12).sqrt()
    return y.mean() + 10 * (length - 1).square().mean()


x = wave(10, 0.7, 0.1).reshape(5, 2) * 1.5
weights = {"w1": (wave(8, 1.1, 0.3) * 0.8).reshape(4, 2), "b1": wave(4, 0.9, 0.5) * 0.2, "w2": (wave(4, 1.3, 0.2) * 0.9).reshape(1, 4)}
row = {"rate": RATE, "x": x.flatten().tolist()} | {name: w.flatten().tolist() for name, w in weights.items()} | {"loss": []}
for w in weights.values():
    w.requires_grad_()
for _ in range(STEPS):
    loss = loss_of(x, *weights.values())
    row["loss"].append(loss.item())
    grads = torch.autograd.grad(loss, list(weights.values()))
    with torch.no_grad():
        for w, g in zip(weights.values(), grads):
            w -= RATE * g
row["after"] = {name: w.flatten().tolist() for name, w in weights.items()}
GOLDEN.write_text(json.dumps(row, indent=1) + "\n")
print(f"{GOLDEN.name}: {STEPS} steps, last loss {row['loss'][-1]:.6f}")
