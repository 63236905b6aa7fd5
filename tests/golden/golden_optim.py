# SPDX-License-Identifier: Apache-2.0
"""Writes optim.json: a hundred steps of PyTorch's optimisers in f64, of Lion by its paper's lines, and tables of PyTorch's schedules.

    python golden_optim.py            rewrite the file
    python golden_optim.py --check    compute again and compare (relative 1e-12)

Three parameters a [2, 3], b [4], c [1], whose elements are numbered k = 0 .. 10 in that order, begin at ((37 k + 11) mod 97) / 97 - 1/2.
At step t = 0, 1, ... the gradient of element k with value p is

    g = 0.7 (1 + k mod 3) p + ((131 t + 71 k + 7 t k) mod 101) / 101 - 1/2

In a case with "gaps" b has one only at steps t = 2 mod 3: at the others it is left alone.  "values" are the 11 elements after the
steps of "after", "norms" the norms of all gradients at those steps, before clipping.  Needs: torch, numpy.
"""
import argparse
import json
import sys

import oracle

torch, numpy = oracle.module("torch"), oracle.module("numpy")
PATH = oracle.HERE / "optim.json"
SHAPES = {"a": (2, 3), "b": (4,), "c": (1,)}
AFTER = [1, 2, 3, 10, 50, 100]
SCHEDULE = {"decay": "linear", "steps": 100, "warmup": 10}
GROUPS = [{"pattern": "b|c", "lr_factor": 0.1, "weight_decay": 0.3}, {"pattern": "[ac]", "lr_factor": 2.0, "weight_decay": -1}]
CASES = {
    "sgd": dict(rule="sgd", lr=0.05),
    "sgd momentum": dict(rule="sgd", lr=0.05, momentum=0.9),
    "sgd dampening": dict(rule="sgd", lr=0.05, momentum=0.9, dampening=0.5),
    "sgd nesterov": dict(rule="sgd", lr=0.05, momentum=0.8, nesterov=True),
    "sgd decay": dict(rule="sgd", lr=0.05, weight_decay=0.1),
    "sgd all": dict(rule="sgd", lr=0.05, momentum=0.7, dampening=0.2, weight_decay=0.1),
    "sgd nesterov decay": dict(rule="sgd", lr=0.05, momentum=0.7, nesterov=True, weight_decay=0.1),
    "sgd gaps": dict(rule="sgd", lr=0.05, momentum=0.9, dampening=0.5, gaps=True),
    "sgd clip value": dict(rule="sgd", lr=0.05, momentum=0.9, clip_value=0.25),
    "adam": dict(rule="adam", lr=0.01),
    "adam decay": dict(rule="adam", lr=0.01, weight_decay=0.1),
    "adam betas": dict(rule="adam", lr=0.01, beta1=0.8, beta2=0.95, eps=1e-3),
    "adam gaps": dict(rule="adam", lr=0.01, gaps=True),
    "adamw": dict(rule="adamw", lr=0.01),
    "adamw decay": dict(rule="adamw", lr=0.01, weight_decay=0.5),
    "adamw groups": dict(rule="adamw", lr=0.01, weight_decay=0.1, groups=GROUPS),
    "adamw clip": dict(rule="adamw", lr=0.01, weight_decay=0.1, clip=0.8),
    "adamw wide clip": dict(rule="adamw", lr=0.01, clip=1e6),
    "adamw schedule": dict(rule="adamw", lr=0.02, weight_decay=0.1, schedule=SCHEDULE),
    "adamw gaps": dict(rule="adamw", lr=0.01, weight_decay=0.1, gaps=True),
    "lion": dict(rule="lion", lr=0.01),
    "lion decay": dict(rule="lion", lr=0.01, beta1=0.95, beta2=0.98, weight_decay=0.5),
}


def elements(name):
    """The numbers k of a parameter's elements."""
    first = {"a": 0, "b": 6, "c": 10}[name]
    return numpy.arange(first, first + int(numpy.prod(SHAPES[name]))).reshape(SHAPES[name])


def start(name):
    return (37 * elements(name) + 11) % 97 / 97 - 0.5


def gradient(name, t, p):
    k = elements(name)
    return 0.7 * (1 + k % 3) * p + (131 * t + 71 * k + 7 * t * k) % 101 / 101 - 0.5


class Lion:
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, params, lr, beta1=0.9, beta2=0.99, weight_decay=0.0):
        self.params, self.lr, self.betas, self.decay = params, lr, (beta1, beta2), weight_decay
        self.m = [numpy.zeros(p.shape) for p in params]

    def step(self):
        for i, p in enumerate(self.params):
            x, g = p.detach().numpy(), p.grad.numpy()
            c = self.betas[0] * self.m[i] + (1 - self.betas[0]) * g
            x -= self.lr * (numpy.sign(c) + self.decay * x)
            self.m[i] = self.betas[1] * self.m[i] + (1 - self.betas[1]) * g


def torch_schedule(optimizer, decay, steps, warmup):
    """The same learning rates from PyTorch's own schedules, chained."""
    lr = torch.optim.lr_scheduler
    rest = {"linear": lambda: lr.LinearLR(optimizer, 1.0, 0.0, steps - warmup), "constant": lambda: lr.ConstantLR(optimizer, 1.0),
            "cosine": lambda: lr.CosineAnnealingLR(optimizer, steps - warmup)}[decay]()
    if warmup == 0:
        return rest
    return lr.SequentialLR(optimizer, [lr.LinearLR(optimizer, 1.0 / warmup, 1.0, warmup - 1), rest], [warmup])


def table(decay, steps, warmup):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, factors = torch_schedule(optimizer, decay, steps, warmup), []
    for _ in range(steps + 1):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return {"decay": decay, "steps": steps, "warmup": warmup, "factors": factors}


def make(case, params):
    rule, lr, decay = case["rule"], case["lr"], case.get("weight_decay", 0.0)
    if rule == "lion":
        return Lion(list(params.values()), lr, case.get("beta1", 0.9), case.get("beta2", 0.99), decay)
    groups = [{"params": list(params.values())}]
    if "groups" in case: # the first group that matches counts; negative stands for zero
        groups = [{"params": [params["b"], params["c"]], "lr": lr * 0.1, "weight_decay": 0.3},
                  {"params": [params["a"]], "lr": lr * 2.0, "weight_decay": 0.0}]
    if rule == "sgd":
        more = {k: case[k] for k in ("momentum", "dampening", "nesterov") if k in case}
        return torch.optim.SGD(groups, lr=lr, weight_decay=decay, **more)
    kind = torch.optim.Adam if rule == "adam" else torch.optim.AdamW
    return kind(groups, lr=lr, betas=(case.get("beta1", 0.9), case.get("beta2", 0.999)), eps=case.get("eps", 1e-8), weight_decay=decay)


def run(case):
    params = {name: torch.nn.Parameter(torch.from_numpy(start(name))) for name in SHAPES}
    optimizer = make(case, params)
    schedule = torch_schedule(optimizer, **case["schedule"]) if "schedule" in case else None
    values, norms = [], []
    for t in range(AFTER[-1]):
        for name, p in params.items():
            there = name != "b" or not case.get("gaps") or t % 3 == 2
            p.grad = torch.from_numpy(gradient(name, t, p.detach().numpy())) if there else None
        norm = torch.nn.utils.clip_grad_norm_(params.values(), case.get("clip", float("inf"))).item()
        if "clip_value" in case:
            torch.nn.utils.clip_grad_value_(params.values(), case["clip_value"])
        optimizer.step()
        if schedule:
            schedule.step()
        if t + 1 in AFTER:
            values.append([x for p in params.values() for x in p.detach().flatten().tolist()])
            norms.append(norm)
    return dict(case, values=values, norms=norms)


def digits(x):
    """Fourteen significant digits, in nested lists and dicts."""
    if isinstance(x, dict):
        return {k: digits(v) for k, v in x.items()}
    if isinstance(x, list):
        return [digits(v) for v in x]
    return float(f"{x:.14g}") if isinstance(x, float) else x


def difference(a, b):
    if isinstance(a, dict):
        return max(difference(a[k], b[k]) for k in a) if a.keys() == b.keys() else float("inf")
    if isinstance(a, list):
        return max(map(difference, a, b), default=0.0) if len(a) == len(b) else float("inf")
    if isinstance(a, (str, bool)):
        return 0.0 if a == b else float("inf")
    return abs(a - b) / max(1.0, abs(b))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    tables = [table(*t) for t in (("linear", 20, 0), ("linear", 20, 5), ("cosine", 20, 0), ("cosine", 17, 4), ("constant", 10, 3), ("constant", 6, 0))]
    made = digits({"after": AFTER, "cases": {name: run(case) for name, case in CASES.items()}, "schedules": tables})
    if parser.parse_args().check:
        off = difference(made, json.loads(PATH.read_text()))
        print(f"optim: largest difference {off:.1e}")
        sys.exit(not off < 1e-12)
    oracle.write_json(PATH, made)
    print(f"{len(CASES)} cases, {PATH.stat().st_size:,} bytes")


main()
