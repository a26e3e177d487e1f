"""Where the textbook formulas of two losses break in float32, and why the library's do not.

Three cases, each a table and a panel of the picture: the relative error of the loss against the
size of the logits, the truth being computed with 80 decimal digits.
"""

import decimal
import math
import warnings

import common

import xpnet as xn
from xpnet import losses, special

LIMIT = 1e-6  # a few roundings of float32, each 6e-8
SHOWN = (1, 10, 20, 50, 100, 1000, 10_000, 1_000_000)  # sizes for the table


def naive_sigmoid(logits, targets):
    """-log(p) and -log(1 - p) with p = sigmoid(z), as defined."""
    xp = xn.array_namespace(logits)
    p = 1 / (1 + xp.exp(-logits))
    return -xp.log(xp.where(targets == 1, p, 1 - p))


def naive_softmax(logits, targets):
    """-log(exp(z_y) / sum exp(z)), as defined."""
    xp = xn.array_namespace(logits)
    e = xp.exp(logits)
    return -xp.log(of_class(e, targets) / xp.sum(e, axis=-1))


def unshifted_softmax(logits, targets):
    """Log-sum-exp minus score: no overflow any more, but two large numbers are subtracted."""
    xp = xn.array_namespace(logits)
    top = xp.max(logits, axis=-1)
    total = top + xp.log(xp.sum(xp.exp(logits - top[:, None]), axis=-1))
    return total - of_class(logits, targets)


def of_class(scores, targets):
    """Return the score of the true class of each row."""
    xp = xn.array_namespace(scores)
    return xp.sum(xp.where(special.one_hot(targets, scores.shape[-1]), scores, 0.0), axis=-1)


def sigmoid_loss(logits, targets):
    return losses.binary_cross_entropy(logits, targets, reduction="none")


def softmax_loss(logits, targets):
    return losses.cross_entropy(logits, targets, reduction="none")


def exact(logits, label):
    """Return log(1 + exp(other - true)) of two scores, or of a logit beside the score 0."""
    decimal.getcontext().prec = 80
    other, true = (decimal.Decimal(logits[c]) for c in (1 - label, label))
    return (1 + (other - true).exp()).ln()


# What is asked, logits and label for a size, the sizes, and the formulas by name.
CASES = [
    (
        "sigmoid, sure and right: logit +size, class 1",
        lambda size: (size, 1),
        list(range(1, 81)),
        {"-log(sigmoid(z))": naive_sigmoid, "xpnet": sigmoid_loss},
    ),
    (
        "sigmoid, sure and wrong: logit -size, class 1",
        lambda size: (-size, 1),
        [round(10 ** (i / 20)) for i in range(81)],
        {"-log(sigmoid(z))": naive_sigmoid, "xpnet": sigmoid_loss},
    ),
    (
        "softmax, a common offset: logits (size, size - 3), class 0",
        lambda size: ([size, size - 3], 0),
        [round(10 ** (i / 20)) for i in range(141)],
        {
            "-log(softmax(z))": naive_softmax,
            "logsumexp(z) - z[class]": unshifted_softmax,
            "xpnet": softmax_loss,
        },
    ),
]
REASONS = [
    "1 + exp(-z) is rounded to 1, so the loss becomes 0 although it is exp(-z).\n"
    "xpnet computes log1p(exp(-z)), which never adds a small number to 1.",
    "exp(-z) overflows beyond 88.7, then p is 0 and the loss infinite.\n"
    "xpnet computes softplus(-z) = max(-z, 0) + log1p(exp(-|z|)): no exponent is positive.",
    "exp(z) overflows beyond 88.7, and inf / inf is nan. Log-sum-exp minus score does not\n"
    "overflow, but its last step subtracts two numbers of the size of the offset.\n"
    "xpnet subtracts the maximum before anything else, which is exact and leaves small numbers.",
]


def main():
    args = common.parser(__doc__, "stable_losses.png").parse_args()
    found = []
    for (title, make, sizes, formulas), reason in zip(CASES, REASONS, strict=True):
        examples = [make(size) for size in sizes]
        targets = xn.asarray([label for _, label in examples])
        logits = xn.asarray([z for z, _ in examples], dtype="float32")
        truth = [exact(z if isinstance(z, list) else [0, z], label) for z, label in examples]
        results = {name: evaluate(f, logits, targets) for name, f in formulas.items()}
        errors = {name: relative(values, truth) for name, (values, _) in results.items()}
        found.append((title, sizes, errors))

        print(f"\n{title}")
        print_table(sizes, truth, results)
        print(reason)
        worst = max(errors["xpnet"])
        common.check(worst < LIMIT, f"xpnet's relative error {worst:.1e} is below {LIMIT:.0e}")
        finite = all(math.isfinite(slope) for slope in results["xpnet"][1])
        common.check(finite, "and its gradient is finite")
        for name in formulas.keys() - {"xpnet"}:
            common.check(max(errors[name]) > 0.1, f"the error of {name} exceeds 10 %")

    print("\nWhat no shift gives back: logits (20, 0), class 0")
    loss = float(softmax_loss(xn.asarray([[20.0, 0.0]]), xn.asarray([0]))[0])
    truth = float(exact([20, 0], 0))
    print(f"The loss is log(1 + {math.exp(-20):.2e}), and that sum is rounded: {loss:.3g}")
    common.check(abs(loss - truth) < 6e-8, f"it is {truth:.3g}, off by less than one rounding of 1")

    draw(found).savefig(args.output)
    print(f"\nwrote {args.output}")


def evaluate(formula, logits, targets):
    """Return the losses, and the gradients by the logits of the true class, as Python numbers."""

    def total(logits):
        values = formula(logits, targets)
        return xn.array_namespace(values).sum(values)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # some libraries warn of the overflow
        values, slopes = formula(logits, targets), xn.grad(total)(logits)
    slopes = slopes if slopes.ndim == 1 else slopes[:, 0]
    return xn.to_host(values).tolist(), xn.to_host(slopes).tolist()


def relative(values, truth):
    """Return the relative errors, infinite where there is no number."""
    return [
        float(abs(decimal.Decimal(value) - true) / true) if math.isfinite(value) else math.inf
        for value, true in zip(values, truth, strict=True)
    ]


def print_table(sizes, truth, results):
    width = 4 + max(map(len, results))
    print(f"{'size':>9} {'truth':>12}" + "".join(f"{name:>{width}}" for name in results), end="")
    print("   gradients in the same order")
    for i in sorted({min(range(len(sizes)), key=lambda i: abs(sizes[i] - s)) for s in SHOWN}):
        values = "".join(f"{values[i]:>{width}.6g}" for values, _ in results.values())
        slopes = "".join(f"{slopes[i]:>12.4g}" for _, slopes in results.values())
        print(f"{sizes[i]:>9} {float(truth[i]):>12.6g}{values} {slopes}")


def draw(found):
    """Show errors on logarithmic axes; where a formula gives no number, a cross at the top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), dpi=150, layout="constrained")
    top, bottom = 1e2, 1e-9
    styles = {"xpnet": ("#0072B2", "-"), "logsumexp(z) - z[class]": ("#009E73", "--")}
    for ax, (title, sizes, errors) in zip(figure.subplots(1, 3, sharey=True), found, strict=True):
        for name, numbers in errors.items():
            color, line = styles.get(name, ("#D55E00", "-."))
            finite = [(s, max(e, bottom)) for s, e in zip(sizes, numbers, strict=True) if e < 1e9]
            ax.plot(*zip(*finite, strict=True), color=color, linestyle=line, label=name)
            lost = [s for s, e in zip(sizes, numbers, strict=True) if e == math.inf]
            if lost:
                ax.plot(lost, [top] * len(lost), "x", color=color, label=f"{name} is inf or nan")
        ax.axhline(6e-8, color="#777777", linewidth=0.8, linestyle=":")
        ax.text(sizes[0], 8e-8, "one rounding in float32", fontsize=8, color="#777777")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_ylim(bottom / 2, top * 5)
        ax.set_xlabel("size of the logits")
        ax.set_title(title.replace(": ", "\n"), fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(fontsize=8, frameon=False, loc="center left")
    figure.axes[0].set_ylabel("relative error of the loss, 0 drawn as 1e-9")
    return figure


if __name__ == "__main__":
    common.run(main)
