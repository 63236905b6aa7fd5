# SPDX-License-Identifier: Apache-2.0
"""Writes ops.jsonl: values and gradients of ops from PyTorch, in f64, f32, bf16 and f16, on small shapes.

    python golden_ops.py            rewrite ops.jsonl
    python golden_ops.py --check    compute again and compare (1e-12 in f64)

A line is one case: {"op", "args", "inputs": [{"shape", "dtype", "data"}], "output": {"shape", "dtype", "data"}, "dy", "grads"}.
"op" is Tapir's name without tp_, "args" its remaining arguments by name, an input may be null (optional operand left out). dy is the
gradient given to the output, grads[i] the gradient of inputs[i], null where it has none. Lists are row-major; a float is written so
that it reads back to the same bits, what is not finite as "inf", "-inf", "nan"; inputs and dy are multiples of 1/64, apart from rope's
f32 frequencies, rounded to the dtype of the line. A case is written once for each dtype that PyTorch's CPU has it in; where this script
composes an op of several (rmsnorm, attention ..), 16-bit lines are computed in f32 and rounded at the end, as Tapir does.
Needs: torch.
"""
import itertools
import json
import math
import sys

import oracle

torch = oracle.module("torch")
GOLDEN = oracle.HERE / "ops.jsonl"
F = torch.nn.functional
RANDOM = torch.Generator().manual_seed(1)
DTYPES = {torch.float64: "f64", torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16", torch.int32: "i32",
          torch.int64: "i64", torch.uint8: "u8", torch.bool: "bool"}
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
INF, NAN = math.inf, math.nan


def normal(*shape):
    return (torch.randn(shape, generator=RANDOM, dtype=torch.float64) * 64).round() / 64


def positive(*shape):
    return normal(*shape).abs() + 0.25


def integers(low, high, *shape):
    return torch.randint(low, high, shape, generator=RANDOM, dtype=torch.int32)


def real(*values):
    return torch.tensor(values, dtype=torch.float64)


def flat(x):
    return [v if isinstance(v, (bool, int)) or math.isfinite(v) else str(v) for v in x.detach().reshape(-1).tolist()]


def tensor(x):
    return None if x is None else {"shape": list(x.shape), "dtype": DTYPES[x.dtype], "data": flat(x)}


def line(op, f, t, inputs, args, dy, composed):
    """One line in dtype t: y = f(*inputs, **args) and its gradients by every input that was f64; None where PyTorch cannot."""
    floats = [x is not None and x.dtype == torch.float64 for x in inputs]
    leaves = [x.to(t).requires_grad_() if is_float else x for x, is_float in zip(inputs, floats)]
    wide = composed and t in FLOATS[2:]
    try:
        y = f(*[x.float() if wide and is_float else x for x, is_float in zip(leaves, floats)], **args)
        y = y.to(t) if composed and y.is_floating_point() else y
        row = {"op": op, "args": args, "inputs": [tensor(x) for x in leaves], "output": tensor(y), "dy": None, "grads": None}
        if y.requires_grad:
            dy = dy(y).to(y.dtype)
            grads = iter(torch.autograd.grad(y, [x for x in leaves if x is not None and x.requires_grad], dy))
            row["dy"] = flat(dy)
            row["grads"] = [flat(next(grads)) if x is not None and x.requires_grad else None for x in leaves]
    except (RuntimeError, NotImplementedError) as e:
        if t in FLOATS[:2] or "implemented for" not in str(e):
            raise
        return None
    return row


def case(op, f, *inputs, composed=False, dtypes=FLOATS, **args):
    """The lines of one case. Inputs in f64 take the dtype of the line, others stay; without one of them there is one line."""
    seeds = []

    def dy(y):
        if not seeds:
            seeds.append(normal(*y.shape))
        return seeds[0]

    if not any(x is not None and x.dtype == torch.float64 for x in inputs):
        dtypes = dtypes[:1]
    rows = [line(op, f, t, inputs, args, dy, composed) for t in dtypes]
    return [row for row in rows if row is not None]


# ---- ops that PyTorch has under another form ----


def rmsnorm(x, w, eps):
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * w


def rope(x, freq, pos, base, mult):
    t = torch.arange(x.shape[1])[None] + base if pos is None else pos
    angle = t[:, :, None, None].double() * freq.double()
    cos, sin = angle.cos() * mult, angle.sin() * mult
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attention(q, k, v, ranges, causal, window, scale):
    sq, sk = q.shape[1], k.shape[1]
    last = torch.arange(sq)[:, None] + sk - sq  # the last key that a row may see
    key = torch.arange(sk)[None]
    seen = torch.ones(q.shape[0], sq, sk, dtype=torch.bool)
    if causal or window:
        seen &= key <= last
    if window:
        seen &= key > last - window
    if ranges is not None:
        seen &= (key >= ranges[..., :1]) & (key < ranges[..., 1:])
    group = q.shape[2] // k.shape[2]
    k, v = (x.repeat_interleave(group, 2) for x in (k, v))
    score = torch.einsum("bshd,bthd->bhst", q, k) * (scale or q.shape[3] ** -0.5)
    score = score.masked_fill(~seen[:, None], -math.inf)
    nothing = ~seen.any(-1)[:, None, :, None]
    p = score.masked_fill(nothing, 0.0).softmax(-1).masked_fill(nothing, 0.0)
    return torch.einsum("bhst,bthd->bshd", p, v)


def block_diag(x, a, out):
    n, bi, _ = a.shape
    blocks = F.pad(x, (0, n * bi - x.shape[-1])).unflatten(-1, (n, bi))
    return torch.einsum("...ni,nio->...no", blocks, a).flatten(-2)[..., :out]


def cross_entropy(x, target, smoothing, sum):
    rows, labels = x.reshape(-1, x.shape[-1]), target.reshape(-1).long()
    if not (labels >= 0).any():
        return (x * 0).sum()
    return F.cross_entropy(rows, labels.where(labels >= 0, -100), label_smoothing=smoothing, reduction="sum" if sum else "mean")


def linear_cross_entropy(x, w, target, smoothing):
    return cross_entropy(x @ w.T, target, smoothing, True)


def over(f):
    """A reduction with Tapir's arguments: no axes means all."""
    def reduce(x, axes, keepdim):
        return f(x, axes or list(range(x.dim())), keepdim)
    return reduce


def prod(x, axes, keepdim):
    for axis in axes:
        x = x.prod(axis, keepdim=True)
    return x if keepdim else x.squeeze(axes)


# ---- the cases ----


def elementwise():
    pairs = [((2, 3), (2, 3)), ((2, 1, 3), (5, 1)), ((4,), ())]
    for name, (a, b) in itertools.product(("add", "sub", "mul", "maximum", "minimum"), pairs):
        yield case(name, getattr(torch, name), normal(*a), normal(*b))
    for a, b in pairs:
        yield case("div", torch.div, normal(*a), positive(*b))
        yield case("pow", torch.pow, positive(*a), normal(*b))
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        yield case(name, getattr(torch, name), integers(0, 3, 2, 3), integers(0, 3, 3))
    yield case("where", torch.where, integers(0, 2, 3, 1).bool(), normal(3, 4), normal(4))
    yield case("masked_fill", lambda x, mask, value: x.masked_fill(mask, value), normal(2, 3), integers(0, 2, 3).bool(), value=-2.5)


def unary():
    gelu_tanh = lambda x: F.gelu(x, approximate="tanh")
    on_all = {name: getattr(torch, name) for name in "neg abs square exp expm1 sin cos tanh sigmoid erf relu".split()}
    on_all |= {name: getattr(F, name) for name in "gelu silu softplus mish hardswish".split()} | {"gelu_tanh": gelu_tanh}
    for name, f in on_all.items():
        yield case(name, f, torch.cat([normal(6) * 2, real(0.0, 1.0, -1.0, 8.0, -8.0)]))
    for name, f in dict(log=torch.log, log1p=torch.log1p, sqrt=torch.sqrt, rsqrt=torch.rsqrt, recip=torch.reciprocal).items():
        yield case(name, f, positive(7))
    yield case("scale", lambda x, p: x * p, normal(5), p=-1.5)
    yield case("shift", lambda x, p: x + p, normal(5), p=0.75)
    yield case("clamp", lambda x, low, high: x.clamp(low, high), normal(8), low=-0.5, high=0.75)
    yield case("pow_scalar", lambda x, p: x.pow(p), positive(5), p=2.5)
    yield case("leaky_relu", lambda x, slope: F.leaky_relu(x, slope), normal(6), slope=0.1)
    yield case("elu", lambda x, alpha: F.elu(x, alpha), normal(6), alpha=1.25)
    yield case("silu_mul", lambda g, u: F.silu(g) * u, normal(2, 5), normal(2, 5), composed=True)


def reductions():
    mean = over(lambda x, a, k: x.mean(a, k))
    functions = dict(sum=over(lambda x, a, k: x.sum(a, k)), mean=mean, max=over(torch.amax), min=over(torch.amin),
                     logsumexp=over(torch.logsumexp), norm=over(lambda x, a, k: torch.linalg.vector_norm(x, dim=a, keepdim=k)))
    for (name, f), (axes, keepdim) in itertools.product(functions.items(), [([], False), ([-1], True), ([0, 2], False)]):
        yield case(name, f, normal(2, 3, 4), axes=axes, keepdim=keepdim)
    yield case("prod", prod, normal(3, 4), axes=[1], keepdim=False, composed=True)
    yield case("prod", prod, torch.tensor([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [1.5, -2.0, 4.0]], dtype=torch.float64), axes=[1], keepdim=True, composed=True)
    for name, f in dict(var=torch.var, std=torch.std).items():
        for correction in (0, 1):
            spread = lambda x, axes, correction, keepdim: f(x, axes, correction=correction, keepdim=keepdim)
            yield case(name, spread, normal(3, 5), composed=True, axes=[1], correction=correction, keepdim=False)
    yield case("cumsum", lambda x, axis: x.cumsum(axis), normal(2, 4, 3), axis=1)


def layout():
    yield case("permute", lambda x, axes: x.permute(axes), normal(2, 3, 2), axes=[2, 0, 1])
    yield case("reshape", lambda x, dim: x.reshape(dim), normal(2, 6), dim=[3, 4])
    yield case("broadcast_to", lambda x, dim: x.broadcast_to(dim), normal(3, 1), dim=[2, 3, 4])
    yield case("slice", lambda x, axis, start, stop, step: x[:, start:stop:step], normal(2, 9), axis=1, start=-8, stop=8, step=3)
    yield case("concat", lambda a, b, c, axis: torch.cat([a, b, c], axis), normal(2, 1), normal(2, 3), normal(2, 2), axis=1)
    yield case("stack", lambda a, b, axis: torch.stack([a, b], axis), normal(2, 3), normal(2, 3), axis=1)
    pad = lambda x, before, after, value: F.pad(x, (before[1], after[1], before[0], after[0]), value=value)
    yield case("pad", pad, normal(2, 3), before=[1, 0], after=[0, 2], value=0.5)
    yield case("gather", lambda x, ids, axis: x.gather(axis, ids.long()), normal(3, 4), integers(0, 4, 3, 6), axis=1)
    yield case("index_select", lambda x, ids, axis: x.index_select(axis, ids), normal(2, 4, 2), integers(0, 4, 5), axis=1)
    yield case("embed", lambda w, ids: F.embedding(ids, w), normal(5, 3), integers(0, 5, 2, 4))


def products():
    shapes = [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (3, 4, 2)), ((4,), (4, 3)), ((3, 4), (4,)), ((5, 1), (1, 3)), ((1, 7), (7, 1))]
    for a, b in shapes:
        yield case("matmul", torch.matmul, normal(*a), normal(*b))
    yield case("affine", F.linear, normal(2, 3, 5), normal(4, 5), normal(4))
    yield case("affine", lambda x, w, b: F.linear(x, w), normal(3, 5), normal(2, 5), None)
    for width, out, a in [(12, 6, (3, 4, 2)), (10, 5, (3, 4, 2)), (7, 9, (5, 2, 2)), (8, 3, (4, 2, 1))]:
        yield case("block_diag", block_diag, normal(3, width), normal(*a), out=out, composed=True)
    yield case("block_diag_add", lambda y, x, a: y + block_diag(x, a, y.shape[-1]), normal(2, 2, 5), normal(2, 2, 10), normal(3, 4, 2), composed=True)


def losses():
    for axis in (-1, 0):
        yield case("softmax", lambda x, axis: x.softmax(axis), normal(3, 5) * 3, axis=axis)
        yield case("log_softmax", lambda x, axis: x.log_softmax(axis), normal(3, 5) * 3, axis=axis)
    target = torch.tensor([2, -100, 0, 5, -1, 6], dtype=torch.int32)
    for smoothing, total in [(0.0, False), (0.0, True), (0.1, False)]:
        yield case("cross_entropy", cross_entropy, normal(6, 7) * 2, target, smoothing=smoothing, sum=total, composed=True)
    yield case("cross_entropy", cross_entropy, normal(2, 3), torch.full((2,), -100, dtype=torch.int32), smoothing=0.0, sum=False, composed=True)
    yield case("cross_entropy", cross_entropy, normal(2, 3, 4), target[:6].reshape(2, 3).clamp(max=3), smoothing=0.0, sum=False, composed=True)
    yield case("linear_cross_entropy", linear_cross_entropy, normal(6, 4), normal(7, 4), target, smoothing=0.0, composed=True)
    reduction = lambda f: lambda x, t, sum: f(x, t, reduction="sum" if sum else "mean")
    yield case("mse", reduction(F.mse_loss), normal(2, 3), normal(2, 3), sum=False)
    share = normal(2, 3).sigmoid().mul(64).round().div(64)
    yield case("bce_with_logits", reduction(F.binary_cross_entropy_with_logits), normal(2, 3), share, sum=True)


def network():
    for eps in (1e-5, 0.5):
        yield case("rmsnorm", rmsnorm, normal(3, 6), normal(6), eps=eps, composed=True)
        yield case("layernorm", lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], w, b, eps), normal(3, 6), normal(6), normal(6), eps=eps)
    yield case("layernorm", lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], None, None, eps), normal(2, 2, 5), None, None, eps=1e-5)
    freq = (10000.0 ** (-torch.arange(0, 6, 2) / 6)).float()
    yield case("rope", rope, normal(1, 4, 2, 6), freq, None, base=0, mult=1.0, composed=True)
    yield case("rope", rope, normal(2, 3, 1, 6), freq, integers(0, 50, 2, 3), base=0, mult=1.25, composed=True)
    yield case("rope", rope, normal(1, 2, 2, 6), freq, None, base=17, mult=1.0, composed=True)
    plain = dict(causal=False, window=0, scale=0.0)
    yield case("attention", attention, normal(2, 3, 2, 4), normal(2, 5, 2, 4), normal(2, 5, 2, 4), None, **plain, composed=True)
    yield case("attention", attention, normal(1, 5, 4, 3), normal(1, 5, 2, 3), normal(1, 5, 2, 3), None, **dict(plain, causal=True), composed=True)
    yield case("attention", attention, normal(1, 2, 3, 4), normal(1, 6, 1, 4), normal(1, 6, 1, 4), None, **dict(plain, causal=True, scale=0.75), composed=True)
    yield case("attention", attention, normal(1, 6, 1, 2), normal(1, 6, 1, 2), normal(1, 6, 1, 2), None, **dict(plain, causal=True, window=3), composed=True)
    packed = torch.tensor([[[0, 3]] * 3 + [[3, 5]] * 2 + [[0, 0]]], dtype=torch.int32)  # two segments, one row in none
    yield case("attention", attention, normal(1, 6, 2, 3), normal(1, 6, 1, 3), normal(1, 6, 1, 3), packed, **dict(plain, causal=True), composed=True)


def truth():
    bits = lambda *shape: integers(0, 2, *shape).bool()
    for name in ("logical_and", "logical_or"):
        yield case(name, getattr(torch, name), bits(2, 3), bits(3))
    yield case("logical_not", torch.logical_not, bits(5))
    for name in ("any", "all"):
        yield case(name, lambda x, axes, keepdim: getattr(torch, name)(x, axes[0], keepdim), bits(4, 3), axes=[1], keepdim=False)
    for name in ("argmax", "argmin"):
        yield case(name, lambda x, axis, keepdim: getattr(torch, name)(x, axis, keepdim), normal(3, 7), axis=1, keepdim=True)
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        yield case(name, getattr(torch, name), real(1, 2, NAN, INF, 0.0), real(1, 3, NAN, INF, -0.0))


def moves():
    yield case("transpose", lambda x, a, b: x.transpose(a, b), normal(2, 3, 4), a=0, b=-1)
    yield case("flatten", lambda x, first, last: x.flatten(first, last), normal(2, 3, 4), first=1, last=2)
    yield case("squeeze", lambda x, axis: x.squeeze(axis), normal(2, 1, 3), axis=1)
    yield case("unsqueeze", lambda x, axis: x.unsqueeze(axis), normal(2, 3), axis=-1)
    yield case("view", lambda x, dim: x.view(dim), normal(2, 6), dim=[3, 4])
    yield case("expand", lambda x, dim: x.expand(dim), normal(3, 1), dim=[2, 3, 4])
    yield case("narrow", lambda x, axis, start, length: x.narrow(axis, start, length), normal(2, 7), axis=1, start=2, length=3)
    yield case("select", lambda x, axis, index: x.select(axis, index), normal(2, 5), axis=1, index=-2)
    yield case("split", lambda x, axis, size: torch.cat(x.split(size, axis)[::-1], axis), normal(2, 6), axis=1, size=[1, 2, 3])
    yield case("chunk", lambda x, axis, n: torch.cat(x.chunk(n, axis)[::-1], axis), normal(2, 7), axis=1, n=3)
    yield case("flip", lambda x, axes: x.flip(axes), normal(2, 3, 2), axes=[0, 2])
    yield case("roll", lambda x, axis, shift: x.roll(shift, axis), normal(2, 5), axis=1, shift=-2)
    yield case("repeat", lambda x, count: x.repeat(count), normal(2, 3), count=[2, 1, 3])
    yield case("contiguous", lambda x: x.contiguous(), normal(2, 3))
    yield case("tril", lambda x, diagonal: x.tril(diagonal), normal(2, 4, 3), diagonal=-1)
    yield case("triu", lambda x, diagonal: x.triu(diagonal), normal(2, 3, 4), diagonal=1)
    yield case("diagonal", lambda x, row, column, offset: x.diagonal(offset, row, column), normal(3, 2, 5), row=0, column=2, offset=1)
    yield case("scatter_add", lambda x, ids, src, axis: x.scatter_add(axis, ids.long(), src), normal(2, 4), integers(0, 4, 2, 6), normal(2, 6), axis=1)
    yield case("one_hot", lambda ids, n: F.one_hot(ids.long(), n).float(), integers(0, 5, 2, 3), n=5)
    yield case("eye", lambda n, m: torch.eye(n, m), n=3, m=5)
    yield case("linspace", lambda start, stop, n: torch.linspace(start, stop, n, dtype=torch.float64), start=-1.0, stop=2.0, n=7)
    for t in ("f32", "f64", "bf16", "f16", "i32", "u8"):
        to = next(k for k, name in DTYPES.items() if name == t)
        yield case("cast", lambda x, t: x.to(to), normal(6).abs() * 3, t=t)


def order():
    """Sorts with ties and NaN: PyTorch's stable sort puts NaN last, first when descending, as Tapir does."""
    x = real(2, -1, 2, 0.5, -1, 7, INF, -INF, 0.0, 3).reshape(2, 5)
    for descending in (False, True):
        yield case("sort", lambda x, axis, descending: torch.sort(x, dim=axis, descending=descending, stable=True)[0], x, axis=-1, descending=descending)
        yield case("argsort", lambda x, axis, descending: torch.argsort(x, dim=axis, descending=descending, stable=True), x, axis=1, descending=descending)
        odd = real(1, NAN, 3, INF, NAN, 1, -INF)
        yield case("argsort", lambda x, axis, descending: torch.argsort(x, dim=axis, descending=descending, stable=True), odd, axis=0, descending=descending)
        yield case("sort", lambda x, axis, descending: torch.sort(x, dim=axis, descending=descending, stable=True)[0], odd, axis=0, descending=descending)
    yield case("topk", lambda x, axis, k: x.topk(k, axis)[0], normal(3, 6), axis=1, k=2)
    yield case("sort", lambda x, axis, descending: torch.sort(x, dim=axis, descending=descending, stable=True)[0], normal(3, 6), axis=0, descending=False)


def sum_or_mean(f):
    return lambda x, t, sum, **more: f(x, t, reduction="sum" if sum else "mean", **more)


def algebra():
    equations = [("ij,jk->ik", (2, 3), (3, 4)), ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)), ("i,j", (3,), (4,)), ("...ij,jk", (2, 3, 4), (4, 2)),
                 ("abc,cb->a", (2, 3, 4), (4, 3)), ("ij,ij->", (2, 3), (2, 3)), ("ba,bc", (3, 2), (3, 4)), ("a...,b...->ab", (2, 3), (4, 3))]
    for text, a, b in equations:
        yield case("einsum", lambda a, b, text: torch.einsum(text, a, b), normal(*a), normal(*b), composed=True, text=text)
    for text, a in [("ii", (4, 4)), ("ii->i", (3, 3)), ("ba", (2, 3)), ("ijk->k", (2, 3, 4)), ("i...i->...", (3, 2, 3))]:
        yield case("einsum", lambda a, text: torch.einsum(text, a), normal(*a), text=text)
    yield case("outer", torch.outer, normal(3), normal(4))
    yield case("dot", torch.dot, normal(5), normal(5))
    yield case("matmul_nt", lambda x, w: x @ w.T, normal(2, 3, 4), normal(5, 4))
    yield case("nll", lambda x, t, sum: F.nll_loss(x, t.long(), reduction="sum" if sum else "mean"), normal(4, 5), integers(0, 5, 4), sum=False)
    yield case("l1", sum_or_mean(F.l1_loss), normal(2, 3), normal(2, 3), composed=True, sum=False)
    yield case("huber", sum_or_mean(F.huber_loss), normal(2, 3), normal(2, 3), composed=True, delta=0.75, sum=True)
    yield case("kl_div", sum_or_mean(F.kl_div), -positive(2, 3), positive(2, 3) / 8, composed=True, sum=False)
    add_norm = lambda x, res, w, eps: rmsnorm(x + res, w, eps)
    yield case("add_rmsnorm", add_norm, normal(3, 6), normal(3, 6), normal(6), composed=True, eps=1e-5)
    wide, heavy = FLOATS[:2], torch.eye(4, dtype=torch.float64) * 6
    spd = normal(2, 4, 4)
    yield case("cholesky", torch.linalg.cholesky, spd @ spd.mT + heavy, dtypes=wide)
    yield case("solve", torch.linalg.solve, normal(2, 4, 4) + heavy, normal(2, 4, 3), dtypes=wide)
    yield case("solve", torch.linalg.solve, normal(4, 4) + heavy, normal(4), dtypes=wide)
    yield case("inverse", torch.linalg.inv, normal(4, 4) + heavy, dtypes=wide)
    for m, n in [(4, 4), (5, 3), (3, 5)]:
        # what does not depend on signs: the values; u diag(s^2 + s) vt; q r again, and the size of r's elements
        yield case("svd", lambda x, what: torch.linalg.svdvals(x), normal(m, n), dtypes=wide, what="values")
        yield case("svd", lambda x, what: svd_sum(x), normal(m, n), dtypes=wide, what="sum")
        yield case("qr", lambda x, what: torch.linalg.qr(x)[1].abs(), normal(m, n), dtypes=wide, what="size")
        yield case("qr", lambda x, what: torch.matmul(*torch.linalg.qr(x)), normal(m, n), dtypes=wide, what="product")


def svd_sum(x):
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    return (u * (s * s + s)) @ vt


def special():
    """Ties, zeros, infinities and NaN, but for the places where the headers say that Tapir differs: sign of NaN, clamp's slope at
    its borders, x^0.5 of -0 and -Inf, prod's slope beside NaN and Inf, logsumexp's slope where all is -Inf."""
    odd = real(0.0, -0.0, 1.5, -2, INF, -INF, NAN)
    for name in ("abs", "floor", "round", "square", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "relu", "neg"):
        yield case(name, getattr(torch, name), odd)
    yield case("recip", torch.reciprocal, odd)
    yield case("sign", torch.sign, odd[:-1])
    yield case("softplus", F.softplus, odd[:4])
    yield case("round", torch.round, real(0.5, 1.5, 2.5, -0.5, -1.5))
    yield case("clamp", lambda x, low, high: x.clamp(low, high), odd, low=-1.75, high=1.25)
    for p in (2.0, 3.0, 0.5, 0.0, 1.0, -1.0):
        yield case("pow_scalar", lambda x, p: x.pow(p), odd[[0, 2, 3, 4, 6]] if p == 0.5 else odd, p=p)
    base, power = torch.meshgrid(real(0.0, 2, -2, INF, NAN), real(0.0, 1, 2, -1, 0.5), indexing="ij")
    yield case("pow", torch.pow, base.contiguous(), power.contiguous())
    a, b = real(1, 1, NAN, 2, INF, -INF, 0.0), real(1, 2, 1, NAN, INF, 3, -0.0)
    for name in ("maximum", "minimum", "add", "sub", "mul", "div"):
        yield case(name, getattr(torch, name), a, b)
    yield case("where", torch.where, torch.tensor([True, False, True, False, True, False, True]), a, b)
    yield case("masked_fill", lambda x, mask, value: x.masked_fill(mask, value), a, torch.tensor([0, 1, 1, 0, 1, 0, 0]).bool(), value=0.5)
    rows = torch.stack([real(1, 3, 3, 2), real(NAN, 1, 2, 0), real(INF, INF, 1, 0), real(-INF, -INF, -INF, -INF), real(0, 0, 0, 0), real(-INF, 1, 2, 1)])
    both = dict(axes=[1], keepdim=False)
    for name, f in dict(max=torch.amax, min=torch.amin, sum=torch.sum, logsumexp=torch.logsumexp).items():
        yield case(name, over(f), rows[[0, 1, 2, 4, 5]] if name == "logsumexp" else rows, **both)
    yield case("norm", over(lambda x, a, k: torch.linalg.vector_norm(x, dim=a, keepdim=k)), rows, **both)
    yield case("prod", prod, rows[[0, 4]], composed=True, **both)
    for name in ("argmax", "argmin"):
        yield case(name, lambda x, axis, keepdim: getattr(torch, name)(x, axis, keepdim), rows, axis=1, keepdim=False)
    for name in ("softmax", "log_softmax"):
        yield case(name, lambda x, axis: getattr(x, name)(axis), rows[[0, 1, 3, 4, 5]], axis=-1)
    yield case("cumsum", lambda x, axis: x.cumsum(axis), rows, axis=1)


def batchnorm(x, w, b, mean, var, training, momentum, eps):
    """Running statistics are cloned: the test compares those that training leaves behind on its own."""
    kept = [None if s is None else s.detach().clone() for s in (mean, var)]
    return F.batch_norm(x, *kept, w, b, training, momentum or 0.1, eps or 1e-5)


def planes():
    conv = lambda x, w, b, stride, pad, dilation, groups: F.conv2d(x, w, b, stride, pad, dilation, groups)
    plain = dict(stride=[1, 1], pad=[0, 0], dilation=[1, 1], groups=1)
    yield case("conv2d", conv, normal(2, 3, 5, 4), normal(4, 3, 3, 2), normal(4), **plain, composed=True)
    yield case("conv2d", conv, normal(1, 2, 3, 3), normal(3, 2, 1, 1), None, **plain, composed=True)
    yield case("conv2d", conv, normal(1, 3, 7, 6), normal(2, 3, 3, 2), normal(2), **dict(plain, stride=[2, 3], pad=[1, 2], dilation=[2, 1]), composed=True)
    yield case("conv2d", conv, normal(2, 4, 4, 5), normal(6, 2, 3, 3), normal(6), **dict(plain, pad=[1, 0], groups=2), composed=True)
    yield case("conv2d", conv, normal(2, 3, 5, 5), normal(6, 1, 3, 3), None, **dict(plain, pad=[1, 1], groups=3), composed=True)
    largest = lambda x, size, stride, pad, dilation, ceil: F.max_pool2d(x, size, stride, pad, dilation, ceil)
    mean = lambda x, size, stride, pad, ceil, exclude_pad: F.avg_pool2d(x, size, stride, pad, ceil, not exclude_pad)
    yield case("max_pool2d", largest, normal(2, 2, 5, 6), size=[2, 2], stride=[2, 2], pad=[0, 0], dilation=[1, 1], ceil=False)
    yield case("max_pool2d", largest, normal(1, 2, 5, 6), size=[3, 2], stride=[1, 2], pad=[1, 1], dilation=[1, 1], ceil=True)
    yield case("max_pool2d", largest, normal(1, 1, 7, 6), size=[3, 2], stride=[2, 1], pad=[1, 0], dilation=[2, 3], ceil=False)
    ties = torch.tensor([[[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, -0.0], [2.0, -1.0, -5.0, -5.0], [2.0, 2.0, -5.0, -5.0]]]], dtype=torch.float64)
    yield case("max_pool2d", largest, ties, size=[2, 2], stride=[1, 1], pad=[0, 0], dilation=[1, 1], ceil=False)
    yield case("avg_pool2d", mean, normal(2, 2, 5, 6), size=[2, 3], stride=[2, 3], pad=[0, 0], ceil=False, exclude_pad=False, composed=True)
    for exclude in (False, True):
        yield case("avg_pool2d", mean, normal(1, 2, 6, 5), size=[3, 3], stride=[2, 2], pad=[1, 1], ceil=True, exclude_pad=exclude, composed=True)
    for out in ([2, 3], [7, 1], [5, 6]):
        yield case("adaptive_avg_pool2d", lambda x, out: F.adaptive_avg_pool2d(x, out), normal(1, 2, 5, 6), out=out, composed=True)
        yield case("adaptive_max_pool2d", lambda x, out: F.adaptive_max_pool2d(x, out), normal(1, 2, 5, 6), out=out)


def batches():
    """Rows with running statistics get them as inputs of their own: not trained, in f32 (f64 in the lines of f64)."""
    mean, var = integers(-3, 4, 3).double() / 8, integers(1, 9, 3).double() / 4
    standard = dict(momentum=0.0, eps=0.0)
    yield case("batchnorm", batchnorm, normal(4, 3, 2, 3), normal(3), normal(3), None, None, composed=True, training=True, **standard)
    yield case("batchnorm", batchnorm, normal(5, 3), None, None, None, None, composed=True, training=True, momentum=0.0, eps=0.5)
    for x in (normal(4, 3, 2), normal(1, 3)):
        rows = case("batchnorm", lambda x, w, b, training, momentum, eps: batchnorm(x, w, b, mean.to(x.dtype), var.to(x.dtype), training, momentum, eps),
                    x, normal(3), normal(3), composed=True, training=False, **standard)
        for row in rows:
            wide = torch.float64 if row["output"]["dtype"] == "f64" else torch.float32
            row["inputs"] += [tensor(s.to(wide)) for s in (mean, var)]
            row["grads"] += [None, None]
        yield rows
    group = lambda x, w, b, groups, eps: F.group_norm(x, groups, w, b, eps)
    for groups in (1, 2, 4):
        yield case("groupnorm", group, normal(2, 4, 3, 2), normal(4), normal(4), composed=True, groups=groups, eps=1e-5)
    yield case("groupnorm", group, normal(3, 6), None, None, composed=True, groups=3, eps=0.25)


TOLERANCE = {"f64": 1e-12, "f32": 1e-6, "bf16": 1e-2, "f16": 2e-3}


def close(a, b, tolerance):
    if isinstance(a, (list, dict)):
        pairs = zip(a, b) if isinstance(a, list) else ((a[k], b[k]) for k in a)
        return type(a) is type(b) and len(a) == len(b) and all(close(x, y, tolerance) for x, y in pairs)
    return a == b if not isinstance(a, float) else abs(a - b) <= tolerance * max(1.0, abs(b))


def same_rows(rows, golden):
    coarse = lambda row: max([TOLERANCE.get(x["dtype"], 0) for x in [row["output"], *filter(None, row["inputs"])]] + [1e-12])
    return len(rows) == len(golden) and all(close(a, b, coarse(b)) for a, b in zip(rows, golden))


parser = oracle.arguments(__doc__)
parser.add_argument("--check", action="store_true")
options = parser.parse_args()
PARTS = (elementwise, unary, reductions, layout, products, losses, network, truth, moves, order, algebra, special, planes, batches)
rows = [row for part in PARTS for lines in part() for row in lines]
if options.check:
    same = same_rows(json.loads(json.dumps(rows)), oracle.read_jsonl(GOLDEN))
    print(f"{GOLDEN.name}: {len(rows)} cases, {'equal' if same else 'DIFFERENT'}")
    sys.exit(not same)
oracle.write_jsonl(GOLDEN, rows)
print(f"{GOLDEN.name}: {len(rows)} cases of {len({r['op'] for r in rows})} ops, {GOLDEN.stat().st_size:,} bytes")
