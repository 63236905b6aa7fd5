# SPDX-License-Identifier: Apache-2.0
"""Writes ops.jsonl: values and gradients of ops from PyTorch, in f64, on small shapes.

    python golden_ops.py            rewrite ops.jsonl
    python golden_ops.py --check    compute again and compare (1e-12)

A line is one case: {"op", "args", "inputs": [{"shape", "dtype", "data"}], "output": {"shape", "dtype", "data"}, "dy", "grads"}.
"op" is Tapir's name without tp_, "args" its remaining arguments by name, an input may be null (optional operand left out). dy is the
gradient given to the output, grads[i] the gradient of inputs[i], null where it has none. Lists are row-major; a float is written so
that it reads back to the same bits; inputs and dy are multiples of 1/64, apart from rope's f32 frequencies.
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
DTYPES = {torch.float64: "f64", torch.float32: "f32", torch.int32: "i32", torch.int64: "i64", torch.bool: "bool"}


def normal(*shape):
    return (torch.randn(shape, generator=RANDOM, dtype=torch.float64) * 64).round() / 64


def positive(*shape):
    return normal(*shape).abs() + 0.25


def integers(low, high, *shape):
    return torch.randint(low, high, shape, generator=RANDOM, dtype=torch.int32)


def flat(x):
    return x.detach().reshape(-1).tolist()


def tensor(x):
    return None if x is None else {"shape": list(x.shape), "dtype": DTYPES[x.dtype], "data": flat(x)}


def case(op, f, *inputs, **args):
    """One line: y = f(*inputs, **args) and its gradients by every f64 input."""
    inputs = [x.clone().requires_grad_(x.dtype == torch.float64) if x is not None else None for x in inputs]
    y = f(*inputs, **args)
    row = {"op": op, "args": args, "inputs": [tensor(x) for x in inputs], "output": tensor(y), "dy": None, "grads": None}
    if y.requires_grad:
        dy = normal(*y.shape)
        leaves = [x for x in inputs if x is not None and x.requires_grad]
        grads = iter(torch.autograd.grad(y, leaves, dy))
        row["dy"] = flat(dy)
        row["grads"] = [flat(next(grads)) if x is not None and x.requires_grad else None for x in inputs]
    return row


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
        yield case(name, f, torch.cat([normal(6) * 2, torch.tensor([0.0, 1.0, -1.0, 8.0, -8.0], dtype=torch.float64)]))
    for name, f in dict(log=torch.log, log1p=torch.log1p, sqrt=torch.sqrt, rsqrt=torch.rsqrt, recip=torch.reciprocal).items():
        yield case(name, f, positive(7))
    yield case("scale", lambda x, p: x * p, normal(5), p=-1.5)
    yield case("shift", lambda x, p: x + p, normal(5), p=0.75)
    yield case("clamp", lambda x, low, high: x.clamp(low, high), normal(8), low=-0.5, high=0.75)
    yield case("pow_scalar", lambda x, p: x.pow(p), positive(5), p=2.5)
    yield case("leaky_relu", lambda x, slope: F.leaky_relu(x, slope), normal(6), slope=0.1)
    yield case("elu", lambda x, alpha: F.elu(x, alpha), normal(6), alpha=1.25)
    yield case("silu_mul", lambda g, u: F.silu(g) * u, normal(2, 5), normal(2, 5))


def reductions():
    mean = over(lambda x, a, k: x.mean(a, k))
    functions = dict(sum=over(lambda x, a, k: x.sum(a, k)), mean=mean, max=over(torch.amax), min=over(torch.amin),
                     logsumexp=over(torch.logsumexp), norm=over(lambda x, a, k: torch.linalg.vector_norm(x, dim=a, keepdim=k)))
    for (name, f), (axes, keepdim) in itertools.product(functions.items(), [([], False), ([-1], True), ([0, 2], False)]):
        yield case(name, f, normal(2, 3, 4), axes=axes, keepdim=keepdim)
    yield case("prod", prod, normal(3, 4), axes=[1], keepdim=False)
    yield case("prod", prod, torch.tensor([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [1.5, -2.0, 4.0]], dtype=torch.float64), axes=[1], keepdim=True)
    for name, f in dict(var=torch.var, std=torch.std).items():
        for correction in (0, 1):
            spread = lambda x, axes, correction, keepdim: f(x, axes, correction=correction, keepdim=keepdim)
            yield case(name, spread, normal(3, 5), axes=[1], correction=correction, keepdim=False)
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
        yield case("block_diag", block_diag, normal(3, width), normal(*a), out=out)
    yield case("block_diag_add", lambda y, x, a: y + block_diag(x, a, y.shape[-1]), normal(2, 2, 5), normal(2, 2, 10), normal(3, 4, 2))


def losses():
    for axis in (-1, 0):
        yield case("softmax", lambda x, axis: x.softmax(axis), normal(3, 5) * 3, axis=axis)
        yield case("log_softmax", lambda x, axis: x.log_softmax(axis), normal(3, 5) * 3, axis=axis)
    target = torch.tensor([2, -100, 0, 5, -1, 6], dtype=torch.int32)
    for smoothing, total in [(0.0, False), (0.0, True), (0.1, False)]:
        yield case("cross_entropy", cross_entropy, normal(6, 7) * 2, target, smoothing=smoothing, sum=total)
    yield case("cross_entropy", cross_entropy, normal(2, 3), torch.full((2,), -100, dtype=torch.int32), smoothing=0.0, sum=False)
    yield case("cross_entropy", cross_entropy, normal(2, 3, 4), target[:6].reshape(2, 3).clamp(max=3), smoothing=0.0, sum=False)
    yield case("linear_cross_entropy", linear_cross_entropy, normal(6, 4), normal(7, 4), target, smoothing=0.0)
    reduction = lambda f: lambda x, t, sum: f(x, t, reduction="sum" if sum else "mean")
    yield case("mse", reduction(F.mse_loss), normal(2, 3), normal(2, 3), sum=False)
    share = normal(2, 3).sigmoid().mul(64).round().div(64)
    yield case("bce_with_logits", reduction(F.binary_cross_entropy_with_logits), normal(2, 3), share, sum=True)


def network():
    for eps in (1e-5, 0.5):
        yield case("rmsnorm", rmsnorm, normal(3, 6), normal(6), eps=eps)
        yield case("layernorm", lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], w, b, eps), normal(3, 6), normal(6), normal(6), eps=eps)
    yield case("layernorm", lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], None, None, eps), normal(2, 2, 5), None, None, eps=1e-5)
    freq = (10000.0 ** (-torch.arange(0, 6, 2) / 6)).float()
    yield case("rope", rope, normal(1, 4, 2, 6), freq, None, base=0, mult=1.0)
    yield case("rope", rope, normal(2, 3, 1, 6), freq, integers(0, 50, 2, 3), base=0, mult=1.25)
    yield case("rope", rope, normal(1, 2, 2, 6), freq, None, base=17, mult=1.0)
    plain = dict(causal=False, window=0, scale=0.0)
    yield case("attention", attention, normal(2, 3, 2, 4), normal(2, 5, 2, 4), normal(2, 5, 2, 4), None, **plain)
    yield case("attention", attention, normal(1, 5, 4, 3), normal(1, 5, 2, 3), normal(1, 5, 2, 3), None, **dict(plain, causal=True))
    yield case("attention", attention, normal(1, 2, 3, 4), normal(1, 6, 1, 4), normal(1, 6, 1, 4), None, **dict(plain, causal=True, scale=0.75))
    yield case("attention", attention, normal(1, 6, 1, 2), normal(1, 6, 1, 2), normal(1, 6, 1, 2), None, **dict(plain, causal=True, window=3))
    packed = torch.tensor([[[0, 3]] * 3 + [[3, 5]] * 2 + [[0, 0]]], dtype=torch.int32)  # two segments, one row in none
    yield case("attention", attention, normal(1, 6, 2, 3), normal(1, 6, 1, 3), normal(1, 6, 1, 3), packed, **dict(plain, causal=True))


def batchnorm(x, w, b, mean, var, training, momentum, eps):
    """Running statistics are cloned: the test compares those that training leaves behind on its own."""
    kept = [None if s is None else s.detach().clone() for s in (mean, var)]
    return F.batch_norm(x, *kept, w, b, training, momentum or 0.1, eps or 1e-5)


def planes():
    conv = lambda x, w, b, stride, pad, dilation, groups: F.conv2d(x, w, b, stride, pad, dilation, groups)
    plain = dict(stride=[1, 1], pad=[0, 0], dilation=[1, 1], groups=1)
    yield case("conv2d", conv, normal(2, 3, 5, 4), normal(4, 3, 3, 2), normal(4), **plain)
    yield case("conv2d", conv, normal(1, 2, 3, 3), normal(3, 2, 1, 1), None, **plain)
    yield case("conv2d", conv, normal(1, 3, 7, 6), normal(2, 3, 3, 2), normal(2), **dict(plain, stride=[2, 3], pad=[1, 2], dilation=[2, 1]))
    yield case("conv2d", conv, normal(2, 4, 4, 5), normal(6, 2, 3, 3), normal(6), **dict(plain, pad=[1, 0], groups=2))
    yield case("conv2d", conv, normal(2, 3, 5, 5), normal(6, 1, 3, 3), None, **dict(plain, pad=[1, 1], groups=3))
    largest = lambda x, size, stride, pad, dilation, ceil: F.max_pool2d(x, size, stride, pad, dilation, ceil)
    mean = lambda x, size, stride, pad, ceil, exclude_pad: F.avg_pool2d(x, size, stride, pad, ceil, not exclude_pad)
    yield case("max_pool2d", largest, normal(2, 2, 5, 6), size=[2, 2], stride=[2, 2], pad=[0, 0], dilation=[1, 1], ceil=False)
    yield case("max_pool2d", largest, normal(1, 2, 5, 6), size=[3, 2], stride=[1, 2], pad=[1, 1], dilation=[1, 1], ceil=True)
    yield case("max_pool2d", largest, normal(1, 1, 7, 6), size=[3, 2], stride=[2, 1], pad=[1, 0], dilation=[2, 3], ceil=False)
    ties = torch.tensor([[[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, -0.0], [2.0, -1.0, -5.0, -5.0], [2.0, 2.0, -5.0, -5.0]]]], dtype=torch.float64)
    yield case("max_pool2d", largest, ties, size=[2, 2], stride=[1, 1], pad=[0, 0], dilation=[1, 1], ceil=False)
    yield case("avg_pool2d", mean, normal(2, 2, 5, 6), size=[2, 3], stride=[2, 3], pad=[0, 0], ceil=False, exclude_pad=False)
    for exclude in (False, True):
        yield case("avg_pool2d", mean, normal(1, 2, 6, 5), size=[3, 3], stride=[2, 2], pad=[1, 1], ceil=True, exclude_pad=exclude)
    for out in ([2, 3], [7, 1], [5, 6]):
        yield case("adaptive_avg_pool2d", lambda x, out: F.adaptive_avg_pool2d(x, out), normal(1, 2, 5, 6), out=out)
        yield case("adaptive_max_pool2d", lambda x, out: F.adaptive_max_pool2d(x, out), normal(1, 2, 5, 6), out=out)


def batches():
    statistics = integers(-3, 4, 3).double() / 8, integers(1, 9, 3).double() / 4  # not trained: i32 in the file would be another dtype
    standard = dict(momentum=0.0, eps=0.0)
    yield case("batchnorm", batchnorm, normal(4, 3, 2, 3), normal(3), normal(3), None, None, training=True, **standard)
    yield case("batchnorm", batchnorm, normal(5, 3), None, None, None, None, training=True, momentum=0.0, eps=0.5)
    for x in (normal(4, 3, 2), normal(1, 3)):
        row = case("batchnorm", lambda x, w, b, training, momentum, eps: batchnorm(x, w, b, *statistics, training, momentum, eps),
                   x, normal(3), normal(3), training=False, **standard)
        row["inputs"] += [tensor(s) for s in statistics]
        row["grads"] += [None, None]
        yield row
    for groups in (1, 2, 4):
        yield case("groupnorm", lambda x, w, b, groups, eps: F.group_norm(x, groups, w, b, eps), normal(2, 4, 3, 2), normal(4), normal(4), groups=groups, eps=1e-5)
    yield case("groupnorm", lambda x, w, b, groups, eps: F.group_norm(x, groups, None, None, eps), normal(3, 6), None, None, groups=3, eps=0.25)


def close(a, b):
    if isinstance(a, (list, dict)):
        pairs = zip(a, b) if isinstance(a, list) else ((a[k], b[k]) for k in a)
        return type(a) is type(b) and len(a) == len(b) and all(itertools.starmap(close, pairs))
    return a == b if not isinstance(a, float) else abs(a - b) <= 1e-12 * max(1.0, abs(b))


parser = oracle.arguments(__doc__)
parser.add_argument("--check", action="store_true")
options = parser.parse_args()
rows = [row for part in (elementwise, unary, reductions, layout, products, losses, network, planes, batches) for row in part()]
if options.check:
    same = close(json.loads(json.dumps(rows)), oracle.read_jsonl(GOLDEN))
    print(f"{GOLDEN.name}: {len(rows)} cases, {'equal' if same else 'DIFFERENT'}")
    sys.exit(not same)
oracle.write_jsonl(GOLDEN, rows)
print(f"{GOLDEN.name}: {len(rows)} cases of {len({r['op'] for r in rows})} ops, {GOLDEN.stat().st_size:,} bytes")
