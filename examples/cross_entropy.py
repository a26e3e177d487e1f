"""Cross-entropy from its definition, by hand and by the library.

A classifier gives a probability to each class. Cross-entropy is minus the logarithm of the one
that it gave to the true class: 0 for a sure and right answer, infinite for a sure and wrong one.
"""

import math

import common

import xpnet as xn
from xpnet import losses, special

# The probabilities that a network with random weights gives to the digits 0 to 9; it is a 4.
PROBABILITIES = [0.1058, 0.1043, 0.0988, 0.1066, 0.0875, 0.0881, 0.1027, 0.1046, 0.1057, 0.0958]
DIGIT = 4
# Scores of three classes for two samples, and their true classes.
LOGITS = [[-1.0, 0.5, 2.0], [-1.0, 0.5, 3.0]]
LABELS = [1, 2]


def softmax(logits):
    """Return probabilities: positive numbers that sum to one, in the order of the scores."""
    xp = xn.array_namespace(logits)
    e = xp.exp(logits - xp.max(logits, axis=-1, keepdims=True))  # the shift cancels
    return e / xp.sum(e, axis=-1, keepdims=True)


def cross_entropy(logits, labels):
    """Return the mean over the samples of -log(probability of the true class)."""
    xp = xn.array_namespace(logits)
    true = special.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return -xp.mean(xp.sum(true * xp.log(softmax(logits)), axis=-1))


def main():
    args = common.parser(__doc__, "cross_entropy.png").parse_args()

    print(f"One sample with given probabilities, its class being {DIGIT}")
    by_hand = -math.log(PROBABILITIES[DIGIT])
    by_library = losses.cross_entropy(
        xn.asarray([PROBABILITIES]), xn.asarray([DIGIT]), from_logits=False
    )
    print(f"  -log({PROBABILITIES[DIGIT]}) = {by_hand:.4f}")
    common.check(f"{by_hand:.4f}" == "2.4361", "by its definition it is 2.4361")
    same("the library", by_library, by_hand)

    print("Two samples with scores of three classes")
    logits, labels = xn.asarray(LOGITS), xn.asarray(LABELS)
    p = xn.to_host(softmax(logits))
    for row, scores, label in zip(p, LOGITS, LABELS, strict=True):
        shares = ", ".join(f"{share:.4f}" for share in row)
        print(f"  scores {scores} -> probabilities [{shares}], true class {label}: ", end="")
        print(f"-log({row[label]:.4f}) = {-math.log(row[label]):.4f}")
    mean, grad = xn.value_and_grad(cross_entropy)(logits, labels)
    common.check(f"{float(mean):.4f}" == "0.9185", "the mean by hand is 0.9185")

    print("Softmax, loss and gradient by hand")
    library = xn.value_and_grad(losses.cross_entropy)(logits, labels)
    same("the library", p, special.softmax(logits, axis=-1), mean, library[0], grad, library[1])
    compare_with_torch(p, mean, grad)

    draw(p, by_hand).savefig(args.output)
    print(f"wrote {args.output}")


def same(whose, *pairs):
    """Check that numbers are equal in pairs, to a few roundings in float32."""
    pairs = [xn.to_host(xn.asarray(x)) for x in pairs]
    off = max(abs(a - b).max() for a, b in zip(pairs[::2], pairs[1::2], strict=True))
    common.check(off < 1e-6, f"{whose} says the same, the largest difference is {off:.1e}")


def compare_with_torch(p, mean, grad):
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed, so there is nothing to compare with")
        return
    logits = torch.tensor(LOGITS, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS))
    loss.backward()
    softmax = torch.softmax(logits.detach(), dim=-1)
    same("PyTorch", p, softmax.numpy(), mean, loss.item(), grad, logits.grad.numpy())


def draw(p, first):
    """Show how probabilities become losses: all of them lie on one curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (row, label) in enumerate(zip(p, LABELS, strict=True)):
        places = [c + 4 * i for c in range(3)]
        colors = ["#0072B2" if c == label else "#BBBBBB" for c in range(3)]
        left.bar(places, row, color=colors)
        left.text(4 * i + 1, 1.08, f"sample {i + 1}", ha="center", fontsize=10)
        for place, share, score in zip(places, row, LOGITS[i], strict=True):
            left.text(place, share + 0.02, f"{share:.3f}\nscore {score:g}", ha="center", fontsize=8)
    left.set_xticks(
        [0, 1, 2, 4, 5, 6], ["class 0", "class 1", "class 2"] * 2, rotation=30, fontsize=9
    )
    left.set_ylim(0, 1.15)
    left.set_ylabel("probability")
    left.set_title("Softmax of the scores; blue is the true class", fontsize=11)

    grid = [i / 400 for i in range(4, 401)]
    right.plot(grid, [-math.log(x) for x in grid], color="#222222", linewidth=1.4)
    points = [("ten digits", PROBABILITIES[DIGIT], first, "^")] + [
        (f"sample {i}", row[label], -math.log(row[label]), "o")
        for i, (row, label) in enumerate(zip(p, LABELS, strict=True), 1)
    ]
    for name, share, loss, marker in points:
        right.plot([share], [loss], marker, color="#D55E00", markersize=8)
        right.annotate(
            f"{name}: {loss:.4f}",
            (share, loss),
            xytext=(8, 20 if share > 0.7 else 8),
            textcoords="offset points",
            ha="right" if share > 0.7 else "left",
            fontsize=9,
        )
    mean = sum(loss for _, _, loss, _ in points[1:]) / 2
    right.axhline(mean, color="#0072B2", linestyle="--", linewidth=1)
    right.text(0.99, mean + 0.06, f"mean of the two samples: {mean:.4f}", ha="right", fontsize=9)
    right.set_xlim(0, 1.02)
    right.set_ylim(0, 4.7)
    right.set_xlabel("probability of the true class")
    right.set_ylabel("cross-entropy in nats")
    right.set_title("-log(probability of the true class)", fontsize=11)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    common.run(main)
