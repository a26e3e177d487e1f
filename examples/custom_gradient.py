"""Gradients by hand: a loss that brings its own, and the chain of Jacobians of a network.

A network ``z = W2 relu(W1 x + b1) + b2`` with the cost ``C = cross_entropy(z, y)`` is a chain of
functions, so its derivative is a product of their Jacobian matrices. Each is written down here,
compared with what ``xn.jacobian`` finds, and multiplied out to ``dC/dW1``, which is what
``xn.grad`` returns.
"""

import math

import common

import xpnet as xn
from xpnet import losses, special

CLASSES = 10
SHOWN = 8  # hidden units in the picture


@xn.custom_gradient
def cross_entropy(logits, onehot):
    """Return -log softmax(logits)[y] and, for the gradient, softmax(logits) - onehot(y)."""
    xp = xn.array_namespace(logits)
    z = logits - xp.max(logits)  # the shift keeps every digit and cancels
    e = xp.exp(z)
    total = xp.sum(e)
    value = xp.log(total) - xp.sum(onehot * z)
    return value, lambda grad: (grad * (e / total - onehot), None)  # None: not differentiated


def main():
    args = parse_arguments()
    train, _ = common.images(args.dataset, args.data)
    x, label = train[0][0, :], train[1][:1]
    onehot = special.one_hot(label, CLASSES, dtype=x.dtype)[0, :]
    xp, n, m = xn.array_namespace(x), x.shape[0], args.hidden
    rng = xn.Generator(args.seed)
    w1 = rng.normal((m, n), std=1 / math.sqrt(n))
    w2 = rng.normal((CLASSES, m), std=1 / math.sqrt(m))
    b1, b2 = xp.zeros_like(w1[:, 0]), xp.zeros_like(w2[:, 0])
    print(f"A network {n}-{m}-{CLASSES}, one image of class {int(label[0])}")

    print("\nA loss with a gradient by hand")
    h = linear(w1, x, b1)
    a = relu(h)
    z = linear(w2, a, b2)
    value, dz = xn.value_and_grad(cross_entropy)(z, onehot)
    library = xn.value_and_grad(losses.cross_entropy)(z[None, :], label)
    same(value, library[0], "the loss is that of the library")
    same(dz, library[1][0, :], "its gradient softmax(z) - onehot(y) is that of the library")

    print("\nThe Jacobian of softmax: dp_i/dz_j = p_i ([i = j] - p_j)")
    p = special.softmax(z)
    softmax_jacobian = diagonal(p) - xp.matmul(p[:, None], p[None, :])
    same(softmax_jacobian, xn.jacobian(special.softmax)(z), "diag(p) - p p^T is xn.jacobian")
    same(xp.sum(softmax_jacobian, axis=0), xp.zeros_like(p), "its columns sum to 0, as p to 1")
    same(-(onehot / p) @ softmax_jacobian, dz, "times dC/dp = -onehot/p it is softmax(z) - onehot")

    print("\nThe chain of Jacobians, from the cost back to each weight")
    slope = xp.astype(h > 0, x.dtype)
    da_dh = diagonal(slope)
    print(f"  dC/dz {shape(dz)}, dz/da {shape(w2)}, da/dh {shape(da_dh)}")
    same(xn.jacobian(lambda a: linear(w2, a, b2))(a), w2, "dz/da = W2")
    same(xn.jacobian(relu)(h), da_dh, "da/dh = diag(h > 0)")
    # z_i has a derivative by row i of W2 only: the Kronecker product of the identity and a.
    identity = diagonal(xp.ones_like(z))
    dz_dw2 = identity[:, :, None] * a
    same(xn.jacobian(lambda w: linear(w, a, b2))(w2), dz_dw2, f"dz/dW2 = I (x) a^T {shape(dz_dw2)}")
    few = min(m, 3)
    dh_dw1 = diagonal(xp.ones_like(h[:few]))[:, :, None] * x
    found = xn.jacobian(lambda w: linear(w, x, b1[:few]))(w1[:few, :])
    same(found, dh_dw1, f"dh/dW1 = I (x) x^T, for {few} hidden units {shape(dh_dw1)}")
    print(
        f"  dh/dW1 of all units has {m} x {m} x {n} = {m * m * n:,} numbers, all zero but "
        f"{m * n:,}:\n  the product with it, an outer product, is computed without it"
    )

    print("\nThe product of the chain is the gradient")
    dh = dz @ w2 @ da_dh
    dw2 = xp.tensordot(dz, dz_dw2, axes=1)
    dw1 = xp.matmul(dh[:, None], x[None, :])
    weights = {"W1": w1, "b1": b1, "W2": w2, "b2": b2}
    grads = xn.grad(cost)(weights, x, onehot)
    for name, by_hand in {"W1": dw1, "b1": dh, "W2": dw2, "b2": dz}.items():
        same(by_hand, grads[name], f"dC/d{name} {shape(by_hand)} is xn.grad")

    draw(x, label, softmax_jacobian, dw1).savefig(args.output)
    print(f"\nwrote {args.output}")


def cost(weights, x, onehot):
    """Return the cost of the whole network, with nothing about derivatives in it."""
    a = relu(linear(weights["W1"], x, weights["b1"]))
    return cross_entropy(linear(weights["W2"], a, weights["b2"]), onehot)


def linear(w, x, b):
    return xn.array_namespace(w, x).matmul(w, x) + b


def relu(h):
    return xn.array_namespace(h).maximum(h, 0.0)


def diagonal(vector):
    """Return the matrix with a vector on its diagonal and zeros elsewhere."""
    xp, n = xn.array_namespace(vector), vector.shape[0]
    return xp.eye(n, dtype=vector.dtype, device=vector.device) * vector


def shape(array):
    return " x ".join(map(str, array.shape))


def same(a, b, claim):
    """Check that two arrays are equal up to roundings in float32, relative to the largest."""
    a, b = xn.to_host(a), xn.to_host(b)
    common.check(a.shape == b.shape and abs(a - b).max() <= 1e-5 * (abs(b).max() or 0.1), claim)


def draw(x, label, softmax_jacobian, dw1):
    """Show the Jacobian, the image, and dC/dW1 of the units with the largest gradients."""
    from matplotlib.figure import Figure

    x, dw1, jacobian = xn.to_host(x), xn.to_host(dw1), xn.to_host(softmax_jacobian)
    side = math.isqrt(x.size)
    figure = Figure(figsize=(12, 5.2), dpi=150, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1))
    ax = left.subplots()
    limit = abs(jacobian).max()
    shown = ax.imshow(jacobian, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for i in range(CLASSES):
        for j in range(CLASSES):
            color = "white" if abs(jacobian[i, j]) > 0.6 * limit else "#222222"
            ax.text(
                j, i, f"{jacobian[i, j]:.3f}", ha="center", va="center", fontsize=6.5, color=color
            )
    ax.set_xticks(range(CLASSES))
    ax.set_yticks(range(CLASSES))
    ax.set_xlabel("by logit $z_j$")
    ax.set_ylabel("derivative of probability $p_i$")
    ax.set_title("Jacobian of softmax, diag(p) - p p$^T$", fontsize=11)
    left.colorbar(shown, ax=ax, shrink=0.8)

    order = abs(dw1).sum(axis=1).argsort()[::-1][:SHOWN]
    panels = right.subplots(3, 3).ravel()
    panels[0].imshow(x.reshape(side, side), cmap="gray")
    panels[0].set_title(f"the image x, class {int(label[0])}", fontsize=9)
    limit = abs(dw1).max()
    for unit, panel in zip(order, panels[1:], strict=False):
        shown = panel.imshow(dw1[unit].reshape(side, side), cmap="RdBu_r", vmin=-limit, vmax=limit)
        panel.set_title(f"dC/dW1 of unit {unit}", fontsize=9)
    for panel in panels:
        panel.set_axis_off()
    right.colorbar(shown, ax=panels, shrink=0.8)
    right.suptitle("Each row of dC/dW1 is the image times a number", fontsize=11)
    return figure


def parse_arguments():
    parser = common.parser(__doc__, "custom_gradient.png")
    common.add_images(parser, "mnist")
    parser.add_argument("--hidden", type=int, default=512, help="width of the hidden layer")
    return parser.parse_args()


if __name__ == "__main__":
    common.run(main)
