"""Two classes with one output: logits, probabilities, a decision boundary, and penalties.

The network's one output is a logit, the log of the odds of class 1; ``expit`` makes it a
probability. Trained on few and noisy points it draws a boundary that follows the noise. A penalty
on its weights, written into the loss, smooths it: L2 makes all weights small, L1 makes most zero.
"""

import math

import common

import xpnet as xn
from xpnet import losses, nn, optim, special

SMALL = 1e-2  # in absolute value; below it a weight counts as zero


def moons(n, noise, rng):
    """Return points on two interleaved half circles, and the number of the half circle."""
    angles = rng.uniform((n,), 0.0, math.pi)
    xp = xn.array_namespace(angles)
    labels = xp.arange(n, device=angles.device) % 2
    upper = xp.stack([xp.cos(angles), xp.sin(angles)], axis=-1)
    lower = xp.stack([1 - xp.cos(angles), 0.5 - xp.sin(angles)], axis=-1)
    points = xp.where(labels[:, None] == 1, lower, upper)
    return points + rng.normal((n, 2), std=noise), labels


def make_model(rng):
    """Return a network from points to logits of shape (N,)."""
    return nn.Sequential(
        nn.Linear(2, 64, rng=rng), nn.Tanh(), nn.Linear(64, 64, rng=rng), nn.Tanh(),
        nn.Linear(64, 1, rng=rng),
    )  # fmt: skip


def logits_of(model, x):
    return xn.array_namespace(x).squeeze(model(x), axis=-1)


def loss_fn(model, x, y, l1, l2):
    """Return the cross-entropy plus penalties on the weights; biases cost nothing."""
    xp = xn.array_namespace(x)
    loss = losses.binary_cross_entropy(logits_of(model, x), y)
    for name, parameter in model.parameters().items():
        if name.endswith("weight"):
            loss = loss + l1 * xp.sum(xp.abs(parameter)) + l2 * xp.sum(parameter**2)
    return loss


def train(x, y, args, *, l1=0.0, l2=0.0):
    model = make_model(xn.Generator(args.seed, stream=1))  # each starts from the same weights
    optimizer = optim.Adam(args.learning_rate)
    step = xn.value_and_grad(loss_fn)
    for _ in range(args.steps):
        _, grads = step(model, x, y, l1, l2)
        optimizer.update(model, grads)
    return model


def accuracy(model, x, y):
    """Return the share of points on the right side: a positive logit is class 1."""
    return float(((xn.to_host(logits_of(model, x)) > 0) == xn.to_host(y)).mean())


def weights_of(model):
    """Return the absolute values of all weights, in order, in host memory."""
    arrays = [xn.to_host(w) for name, w in model.parameters().items() if name.endswith("weight")]
    return sorted(abs(float(w)) for array in arrays for w in array.ravel())


def main():
    args = parse_arguments()
    rng = xn.Generator(args.seed)
    x, y = moons(args.points, args.noise, rng)
    test = moons(2000, args.noise, rng)
    penalties = {
        "no penalty": {},
        f"L2, {args.l2}": {"l2": args.l2},
        f"L1, {args.l1}": {"l1": args.l1},
    }

    models, weights = {}, {}
    print(f"{'penalty':<12}{'train':>8}{'test':>8}{'sum |w|':>10}{'sum w^2':>10}{'zeros':>8}")
    for name, penalty in penalties.items():
        model = models[name] = train(x, y, args, **penalty)
        w = weights[name] = weights_of(model)
        print(
            f"{name:<12}{accuracy(model, x, y):>8.3f}{accuracy(model, *test):>8.3f}"
            f"{sum(w):>10.1f}{sum(v * v for v in w):>10.1f}{zeros(w):>8.1%}"
        )

    logits = logits_of(models["no penalty"], x)
    p = special.expit(logits)
    print("\nlogit -> probability of class 1, for three points:")
    for z, share, label in zip(*(xn.to_host(a)[:3] for a in (logits, p, y)), strict=True):
        print(f"  {z:+.3f} -> {share:.4f}, true class {label}")

    figure = draw(models, weights, x, y)
    figure.savefig(args.output)
    print(f"wrote {args.output}")

    from_p, from_z = xn.to_host(p > 0.5), xn.to_host(logits > 0)
    common.check((from_p == from_z).all(), "a positive logit is a probability above one half")
    plain, l2, l1 = weights.values()
    for name, model in models.items():
        found = accuracy(model, *test)
        common.check(found > args.min_accuracy, f"{name}: {found:.3f} > {args.min_accuracy}")
    common.check(sum(v * v for v in l2) < 0.5 * sum(v * v for v in plain), "L2 halves the sum w^2")
    common.check(sum(l1) < 0.5 * sum(plain), "L1 halves the sum |w|")
    common.check(zeros(l1) > 0.5 > zeros(plain), "with L1 most weights are zero, without not")


def zeros(weights):
    return sum(w < SMALL for w in weights) / len(weights)


def draw(models, weights, x, y):
    """Show a boundary for each model, and below it how large its weights are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), dpi=150, layout="constrained")
    panels = figure.subplots(2, len(models), height_ratios=(1.6, 1))
    edges = [10 ** (i / 4) for i in range(-24, 7)]
    most = 0
    for (name, model), above, below in zip(models.items(), *panels, strict=True):
        xn.plots.decision_boundary(
            lambda points, model=model: special.expit(logits_of(model, xn.asarray(points))),
            x,
            y,
            title=f"{name}: boundary at probability 1/2",
            ax=above,
        )
        shown = [max(w, edges[0]) for w in weights[name]]
        counts, _, _ = below.hist(shown, bins=edges, color="#0072B2")
        most = max(most, counts.max())
        below.axvline(SMALL, color="#D55E00", linestyle="--")
        below.set_xscale("log")
        below.set_xlabel("absolute value of a weight")
        below.set_ylabel("weights")
        below.set_title(f"{zeros(weights[name]):.0%} are below {SMALL}", fontsize=10)
        below.spines[["top", "right"]].set_visible(False)
    for below in panels[1]:
        below.set_ylim(0, 1.05 * most)
    return figure


def parse_arguments():
    parser = common.parser(__doc__, "binary_classification.png")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.25, help="standard deviation")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--l1", type=float, default=1e-3, help="coefficient of sum |w|")
    parser.add_argument("--l2", type=float, default=1e-3, help="coefficient of sum w^2")
    parser.add_argument("--min-accuracy", type=float, default=0.88, help="on new points, checked")
    return parser.parse_args()


if __name__ == "__main__":
    common.run(main)
