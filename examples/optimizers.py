"""Optimizers compared: steps and seconds until a model classifies most new images correctly.

The same network starts from the same weights and sees the same batches each time. First plain
gradient descent with a learning rate that is too small, one that is too large and one that is
right; then momentum, and the optimizers that scale each parameter's step by its gradients. Goals
of 91 % and 92 % on MNIST are passed by all but the wrong rates; other data sets have other goals.
"""

import time
from typing import NamedTuple

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


class Task(NamedTuple):
    """Accuracies to reach on a data set, and how long each optimizer may try."""

    goals: tuple[float, float]
    steps: int
    every: int  # steps between two measurements


TASKS = {
    "mnist": Task((0.91, 0.92), 1500, 25),
    "fashion-mnist": Task((0.80, 0.82), 1500, 25),
    "digits": Task((0.84, 0.86), 400, 10),
}
COLORS = ("#56B4E9", "#CC79A7", "#000000", "#D55E00", "#0072B2", "#009E73", "#E69F00", "#785EF0")


class Milestones(callbacks.Callback):
    """Measure the accuracy on other images now and then, with the clock stopped meanwhile."""

    def __init__(self, data, task):
        self.data, self.task = data, task
        self.steps, self.accuracies = [], []
        self.reached = {}  # goal -> (steps, seconds)

    def on_fit_begin(self, trainer):
        self.began = time.perf_counter()

    def on_batch_end(self, trainer, loss):
        last = trainer.steps >= self.task.steps
        if trainer.steps % self.task.every and not last:
            return
        xn.get_backend().synchronize()  # a GPU may be some steps behind
        stopped = time.perf_counter()
        self.steps.append(trainer.steps)
        self.accuracies.append(trainer.evaluate(self.data)["accuracy"])
        for goal in self.task.goals:
            if self.accuracies[-1] >= goal:
                self.reached.setdefault(goal, (trainer.steps, stopped - self.began))
        if last:
            trainer.stop(f"its limit of {self.task.steps} steps")
        self.began += time.perf_counter() - stopped


def main():
    args = parse_arguments()
    task = TASKS[args.dataset]
    task = task._replace(steps=args.steps or task.steps, every=args.every or task.every)
    train, test = common.images(args.dataset, args.data)
    results = {}
    for name, make_optimizer in RUNS.items():
        xn.seed(args.seed)
        model = nn.Sequential(nn.Linear(train[0].shape[1], 64), nn.ReLU(), nn.Linear(64, 10))
        trainer = xn.Trainer(model, losses.cross_entropy, make_optimizer(), metrics=["accuracy"])
        results[name] = Milestones(test, task)
        # An epoch has at least one step, so the limit comes first.
        trainer.fit(train, epochs=task.steps, batch_size=128, callbacks=[results[name]], verbose=0)
        if trainer.steps < task.steps:
            raise KeyboardInterrupt  # that the trainer took for the end of this run only
    print_table(results, task.goals)
    draw(results, task, f"Optimizers on {args.dataset}", args.output)
    print(f"wrote {args.output}")

    slow, large, right, *others = results.values()
    goal = max(task.goals)
    common.check(goal in right.reached, f"gradient descent with the right rate reaches {goal:.0%}")
    common.check(not slow.reached, "a rate that is too small does not get there in time")
    common.check(not large.reached, "nor does one that is too large")
    common.check(all(goal in each.reached for each in others), "all other optimizers do")
    fastest = min(each.reached[goal][0] for each in others)
    common.check(
        fastest < right.reached[goal][0], "the fastest of them needs fewer steps than plain descent"
    )


def print_table(results, goals):
    head = "".join(f"{f'steps to {goal:.0%}':>14}{'seconds':>9}" for goal in goals)
    print(f"{'optimizer':<30}{head}{'at the end':>12}")
    for name, run in results.items():
        cells = ""
        for goal in goals:
            steps, seconds = run.reached.get(goal, ("-", None))
            cells += f"{steps:>14}{'-' if seconds is None else f'{seconds:.2f}':>9}"
        print(f"{name:<30}{cells}{run.accuracies[-1]:>12.4f}")


def draw(results, task, title, path):
    """Draw the accuracy over the steps: the rates of plain descent, and what is good, closer."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, ScalarFormatter

    figure = Figure(figsize=(13, 5.5), dpi=150, layout="constrained")
    figure.suptitle(f"{title}: same network, same start, same batches")
    rates, best = figure.subplots(1, 2)
    for i, (name, run) in enumerate(results.items()):
        for ax in [rates] if i < 2 else [rates, best] if i == 2 else [best]:
            ax.plot(run.steps, run.accuracies, color=COLORS[i], label=name)
    top = max(max(run.accuracies) for run in results.values())
    rates.set(title="Three learning rates of gradient descent", ylim=(0, 1))
    best.set(title="The right one, and other optimizers", xscale="log")
    best.set_ylim(2 * task.goals[0] - top, top + 0.005)
    best.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    best.xaxis.set_major_formatter(ScalarFormatter())
    best.xaxis.set_minor_formatter(NullFormatter())
    for goal in task.goals:
        best.axhline(goal, color="0.5", linewidth=0.8, linestyle=":", zorder=0)
        best.text(task.every, goal, f"goal {goal:.0%}", color="0.4", va="bottom", fontsize=9)
    for ax in (rates, best):
        ax.set(xlabel="steps, of 128 images each", ylabel="accuracy on test images")
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
    figure.savefig(path)


def parse_arguments():
    parser = common.parser(__doc__, "optimizers.png")
    common.add_images(parser, "mnist")
    parser.add_argument("--steps", type=int, help="of each run; by default 1500, for digits 400")
    parser.add_argument("--every", type=int, help="steps between measurements; else 25, digits 10")
    return parser.parse_args()


if __name__ == "__main__":
    common.run(main)
