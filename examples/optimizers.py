"""Optimizers compared: steps and seconds until a model classifies 91 % and 92 % of new images.

The same network starts from the same weights and sees the same batches each time. First plain
gradient descent with a learning rate that is too small, one that is too large and one that is
right; then momentum, and the optimizers that scale each parameter's step by its gradients.
"""

import time

import common

import xpnet as xn
from xpnet import callbacks, losses, nn, optim

RUNS = {
    "SGD, rate 0.001 (too small)": lambda: optim.SGD(0.001),
    "SGD, rate 20 (too large)": lambda: optim.SGD(20.0),
    "SGD, rate 0.1": lambda: optim.SGD(0.1),
    "SGD, rate 0.1, momentum 0.9": lambda: optim.SGD(0.1, momentum=0.9),
    "Adagrad, rate 0.02": lambda: optim.Adagrad(0.02),
    "RMSprop, rate 0.001": lambda: optim.RMSprop(0.001),
    "Adadelta, rate 1": lambda: optim.Adadelta(1.0),
    "Adam, rate 0.001": lambda: optim.Adam(0.001),
}
GOALS = (0.91, 0.92)


class Milestones(callbacks.Callback):
    """Measure the accuracy on other images now and then, with the clock stopped meanwhile."""

    def __init__(self, data, every, limit):
        self.data, self.every, self.limit = data, every, limit
        self.steps, self.accuracies = [], []
        self.reached = {}  # goal -> (steps, seconds)

    def on_fit_begin(self, trainer):
        self.began = time.perf_counter()

    def on_batch_end(self, trainer, loss):
        if trainer.steps % self.every:
            return
        stopped = time.perf_counter()
        self.steps.append(trainer.steps)
        self.accuracies.append(trainer.evaluate(self.data)["accuracy"])
        for goal in GOALS:
            if self.accuracies[-1] >= goal:
                self.reached.setdefault(goal, (trainer.steps, stopped - self.began))
        if trainer.steps >= self.limit:
            trainer.stop("the limit")
        self.began += time.perf_counter() - stopped


def main():
    args = parse_arguments()
    train, test = common.images(args.dataset, args.data)
    results = {}
    for name, make_optimizer in RUNS.items():
        xn.seed(args.seed)
        model = nn.Sequential(nn.Linear(train[0].shape[1], 64), nn.ReLU(), nn.Linear(64, 10))
        trainer = xn.Trainer(model, losses.cross_entropy, make_optimizer(), metrics=["accuracy"])
        results[name] = Milestones(test, args.every, args.steps)
        trainer.fit(train, epochs=args.steps, batch_size=128, callbacks=[results[name]], verbose=0)
    print_table(results)
    draw(results, args)
    print(f"wrote {args.output}")

    slow, large, right, *others = results.values()
    last = max(GOALS)
    common.check(last in right.reached, f"gradient descent with the right rate reaches {last}")
    common.check(not slow.reached, "a rate that is too small does not get there in time")
    common.check(not large.reached, "nor does one that is too large")
    common.check(all(last in each.reached for each in others), "all other optimizers do")
    fastest = min(each.reached[last][0] for each in others)
    common.check(
        fastest < right.reached[last][0], "the fastest of them needs fewer steps than plain descent"
    )


def print_table(results):
    head = "".join(f"{f'steps to {g:.0%}':>14}{'seconds':>9}" for g in GOALS)
    print(f"{'optimizer':<30}{head}{'at the end':>12}")
    for name, run in results.items():
        cells = ""
        for goal in GOALS:
            steps, seconds = run.reached.get(goal, (None, None))
            cells += f"{'-' if steps is None else steps:>14}"
            cells += f"{'-' if seconds is None else f'{seconds:.2f}':>9}"
        print(f"{name:<30}{cells}{run.accuracies[-1]:>12.4f}")


def draw(results, args):
    """Draw the accuracy of all runs over the steps, named at the ends of their curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    ax = figure.subplots()
    for (name, run), marker in zip(results.items(), "ovsDP^X*", strict=True):
        ax.plot(run.steps, run.accuracies, marker=marker, markevery=0.15, label=name)
    for goal in GOALS:
        ax.axhline(goal, color="0.6", linewidth=0.8, linestyle="--")
        ax.text(args.steps, goal, f" {goal:.0%}", color="0.4", va="center")
    ax.set_xlabel("steps, of 128 images each")
    ax.set_ylabel("accuracy on test images")
    ax.set_title(f"Optimizers on {args.dataset}: same network, same start, same batches")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="center right", frameon=False)
    figure.savefig(args.output, dpi=150)


def parse_arguments():
    parser = common.parser(__doc__, "optimizers.png")
    common.add_images(parser, "mnist")
    parser.add_argument("--steps", type=int, default=1500, help="of each run")
    parser.add_argument("--every", type=int, default=25, help="steps between two measurements")
    return parser.parse_args()


if __name__ == "__main__":
    common.run(main)
