"""Made-up runs for generate_experiment_data.py: six experiments of a team that classifies images.

There are baselines, a study of augmentations, a sweep of learning rates, a pre-training, the fine-tuning that continues
it, and a few runs for debugging. The runs have arguments, environments, tags, comments, links, and metrics per epoch.
Most complete. Some fail, diverge, are cut off or resumed; a few are still running or planned.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

BASELINES, AUGMENTATION, SWEEP = "Image classification baselines", "Augmentation study", "Learning-rate sweep"
PRETRAINING, FINE_TUNING, DEBUG = "Pre-training", "Fine-tuning on small data", "Debug (ignore)"


class Topic(NamedTuple):
    """An experiment's comment and tags, its share of all runs, and when its first and last runs start (0 to 1, 1 is
    now).
    """

    comment: str
    tags: tuple[str, ...]
    share: float
    begin: float
    end: float


TOPICS = {
    BASELINES: Topic("The results to beat.", ("baseline", "paper"), 0.20, 0.0, 0.2),
    AUGMENTATION: Topic("Does augmentation help? Δ top‑1 ≥ 0.5 % would be nice 🎉", ("paper",), 0.15, 0.2, 0.35),
    SWEEP: Topic("Grid of learning rates and models, several seeds each.", ("sweep",), 0.30, 0.25, 0.5),
    PRETRAINING: Topic("Long runs on the big data set, of which some were cut off.", ("long",), 0.15, 0.3, 0.6),
    FINE_TUNING: Topic("Starts from the weights of the pre-training.", ("paper", "transfer"), 0.15, 0.7, 0.9),
    DEBUG: Topic("Nothing to see here.", (), 0.05, 0.0, 0.9),
}
EXPERIMENT_LINKS = (
    (FINE_TUNING, "continues", PRETRAINING),
    (AUGMENTATION, "compares with", BASELINES),
    (SWEEP, "compares with", BASELINES),
)


class Model(NamedTuple):
    """A network: the best accuracy that it can reach, and the time and memory that it needs."""

    top1: float
    seconds: float
    memory_mb: int


MODELS = {
    "resnet18": Model(0.70, 40, 6_100),
    "resnet50": Model(0.76, 70, 14_800),
    "vit_small": Model(0.785, 110, 21_300),
    "convnext_tiny": Model(0.805, 95, 24_900),
}
BEST_LR = {"sgd": 0.1, "adamw": 0.001}
SWEEP_LRS = (0.01, 0.03, 0.1, 0.3, 1.0)
MISSING_CELLS = {(0.01, "vit_small"), (0.3, "convnext_tiny")}
COMMITS = tuple(f"{random.Random(number).getrandbits(160):040x}" for number in range(12))

FLIP = {"flip": {"p": 0.5}}
CROP = {**FLIP, "crop": {"size": [224, 224], "scale": [0.08, 1.0]}}
AUGMENTATIONS: tuple[dict[str, Any], ...] = (
    {},
    FLIP,
    CROP,
    {**CROP, "randaugment": {"num_ops": 2, "magnitude": 9}, "mixup": {"alpha": 0.2}},
)

# One in 29 runs ends in each of these ways; 29 shares no factor with the sizes of the grids.
ENDINGS = {4: "CANCELLED", 9: "OUT_OF_MEMORY", 14: "TIMEOUT", 19: "NODE_FAIL", 24: "FAILED", 27: "PREEMPTED"}
ENDINGS_PERIOD = 29
COMMENTS = {
    "CANCELLED": "cancelled, the learning rate was wrong anyway",
    "FAILED": "RuntimeError: DataLoader worker exited unexpectedly",
    "NODE_FAIL": "node went down",
}

# The first row adds all columns, because each row names all of these metrics. Every epoch is validated: a row without a
# value would come before the best one in PostgreSQL (ORDER BY val_top1 DESC sorts NULL first).
METRICS = (
    *("train_start", "train_end", "train_loss", "train_top1", "train_top5"),
    *("val_start", "val_end", "val_loss", "val_top1", "val_top5"),
    *("test_loss", "test_top1", "test_top5", "lr", "gpu util %"),
)
NO_METRICS: dict[str, Any] = dict.fromkeys(METRICS)

SETUP_TIME = timedelta(seconds=20)


@dataclass(eq=False)
class Draft:
    """A run that will be inserted.

    Attributes:
        steps: the epochs that it has metrics of.
        luck: how much better or worse it is than similar runs, in standard deviations.
        diverged_to: value that the losses end with if the training diverges.
        idle: time since the last update, if it is running.
        links: kinds and targets; the targets come first in the database.
        job: number of its Slurm job.
        id: its id in the database.
    """

    experiment: str
    args: dict[str, Any]
    luck: float
    seed: int
    steps: range
    status: str = "COMPLETED"
    diverged_to: float | None = None
    idle: timedelta = timedelta(seconds=15)
    links: list[tuple[str, Draft]] = field(default_factory=list)
    created: datetime = field(init=False)
    started: datetime | None = None
    updated: datetime | None = None
    comment: str | None = None
    tags: list[str] = field(default_factory=list)
    env: dict[str, str] | None = None
    extras: dict[str, Any] | None = None
    job: int = 0
    id: int = 0

    def stop(self, status: str, share: float) -> None:
        """End after a share of the epochs, with a status other than COMPLETED."""
        self.status, self.steps = status, range(math.ceil(share * self.args["epochs"]))
        self.comment = COMMENTS.get(status)

    @property
    def epoch_time(self) -> timedelta:
        return timedelta(seconds=MODELS[self.args["model"]].seconds)

    @property
    def duration(self) -> timedelta:
        return SETUP_TIME + len(self.steps) * self.epoch_time


# Settings of the runs


def draft_runs(rng: random.Random, count: int, epochs: int, now: datetime, *, after: int = 0) -> list[Draft]:
    """Make up the runs of all experiments, in order of creation; the numbers of their jobs are above `after`."""
    counts = {name: int(count * topic.share) for name, topic in TOPICS.items()}
    counts[BASELINES] += count - sum(counts.values())
    baselines = draft_all(rng, BASELINES, baseline_args(epochs), counts[BASELINES])
    augmentation = draft_all(rng, AUGMENTATION, augmentation_args(epochs), counts[AUGMENTATION])
    sweep = draft_all(rng, SWEEP, sweep_args(epochs), counts[SWEEP])
    pretraining = draft_pretraining(rng, epochs, counts[PRETRAINING])
    tuning = draft_all(rng, FINE_TUNING, fine_tuning_args(math.ceil(epochs / 2)), counts[FINE_TUNING])
    debug = draft_all(rng, DEBUG, baseline_args(min(epochs, 3)), counts[DEBUG])

    end_in_various_ways(rng, [*baselines, *augmentation, *sweep, *tuning])
    repeat_failures(baselines)
    leave_unfinished(rng, baselines, tuning)
    link_fine_tuning(rng, tuning, pretraining)
    make_odd(debug)
    drafts = [*baselines, *augmentation, *sweep, *pretraining, *tuning, *debug]
    for name in TOPICS:
        schedule(rng, [run for run in drafts if run.experiment == name], epochs, now)
    ordered = sorted(drafts, key=lambda run: run.created)
    for run, job in zip(ordered, job_numbers(ordered, after)):
        run.job = job
    for run in drafts:
        describe(rng, run)
    return ordered


def draft_all(rng: random.Random, experiment: str, all_args: Iterator[dict[str, Any]], count: int) -> list[Draft]:
    """Return drafts of runs that complete, with the first of `all_args`."""
    return [
        Draft(experiment, args, rng.gauss(0, 1), rng.getrandbits(64), range(args["epochs"]))
        for args in itertools.islice(all_args, count)
    ]


def make_args(model: str, epochs: int, seed: int, **others: Any) -> dict[str, Any]:
    """Return the arguments of a training, with defaults for those that are not given."""
    optimizer = others.get("optimizer", "sgd")
    defaults = {
        "data_path": "/data/images",
        "batch_size": 256,
        "lr": BEST_LR[optimizer],
        "momentum": 0.9,
        "weight_decay": 0.0001,
        "optimizer": optimizer,
        "schedule": "cosine",
        "amp": model != "resnet18",
        "augmentation": CROP,
    }
    return {"model": model, "epochs": epochs, "seed": seed, **defaults, **others}


def baseline_args(epochs: int) -> Iterator[dict[str, Any]]:
    for seed in itertools.count():
        for schedule, model in itertools.product(("cosine", "step"), MODELS):
            yield make_args(model, epochs, seed, schedule=schedule)


def augmentation_args(epochs: int) -> Iterator[dict[str, Any]]:
    for seed in itertools.count():
        for augmentation in AUGMENTATIONS:
            yield make_args("resnet50", epochs, seed, augmentation=augmentation)


def sweep_args(epochs: int) -> Iterator[dict[str, Any]]:
    for seed in itertools.count():
        for model, lr in itertools.product(MODELS, SWEEP_LRS):
            if (lr, model) not in MISSING_CELLS:
                yield make_args(model, epochs, seed, lr=lr, schedule="constant")


def pretraining_args(epochs: int) -> Iterator[dict[str, Any]]:
    for seed in itertools.count():
        for model in ("vit_small", "convnext_tiny"):
            yield make_args(model, epochs, seed, optimizer="adamw", batch_size=1024, weight_decay=0.05)


def fine_tuning_args(epochs: int) -> Iterator[dict[str, Any]]:
    for seed in itertools.count():
        for lr, data in itertools.product((0.0003, 0.001, 0.003), ("flowers", "birds")):
            yield make_args(
                "vit_small", epochs, seed, optimizer="adamw", lr=lr, data_path=f"/data/{data}", pretrained=True
            )


def draft_pretraining(rng: random.Random, epochs: int, count: int) -> list[Draft]:
    """Return runs, some of which resume others: of each four trainings, one was cut off once and one twice."""
    runs: list[Draft] = []
    for number, whole in enumerate(draft_all(rng, PRETRAINING, pretraining_args(epochs), count)):
        parts = min((2, 1, 3, 1)[number % 4], epochs)
        bounds = [epochs * part // parts for part in range(parts + 1)]
        for part, (begin, end) in enumerate(itertools.pairwise(bounds)):
            status = "COMPLETED" if end == epochs else ("PREEMPTED", "TIMEOUT")[part]
            links = [("resumes", runs[-1])] if begin else []
            # The same training continues, so keep the luck, but with other noise.
            steps, seed = range(begin, end), rng.getrandbits(64)
            runs.append(replace(whole, steps=steps, seed=seed, status=status, links=links, tags=[]))
    return runs[:count]


def end_in_various_ways(rng: random.Random, runs: list[Draft]) -> None:
    """End some runs early, including those with a learning rate that is too large."""
    for number, run in enumerate(runs):
        ending = ENDINGS.get(number % ENDINGS_PERIOD)
        if run.args["lr"] >= 1 and run.args["model"] != "resnet18":
            run.stop("FAILED", rng.uniform(0.2, 0.6))
            run.diverged_to, run.comment = math.nan, "diverged, loss is NaN"
        elif ending is not None:
            # A network that does not fit into memory does not finish its first epoch.
            run.stop(ending, 0 if ending == "OUT_OF_MEMORY" else rng.uniform(0.2, 0.8))


def repeat_failures(runs: list[Draft]) -> None:
    """Let the run after a failed one repeat it."""
    for failed, run in itertools.pairwise(runs):
        if failed.status in ("FAILED", "NODE_FAIL", "OUT_OF_MEMORY"):
            run.args = failed.args
            run.links.append(("repeats", failed))


def leave_unfinished(rng: random.Random, baselines: list[Draft], tuning: list[Draft]) -> None:
    """Let a few of the newest runs be running or planned, and an old one look as if it were still running."""
    few = min(5, len(tuning) // 4)
    for run in tuning[len(tuning) - 2 * few :]:
        run.stop("RUNNING", rng.uniform(0.1, 0.9))
    for run in tuning[len(tuning) - few :]:
        run.stop("PLANNED", 0)
    if few:
        baselines[-1].stop("RUNNING", rng.uniform(0.1, 0.9))
        baselines[-1].idle = timedelta(days=3)


def link_fine_tuning(rng: random.Random, tuning: list[Draft], pretraining: list[Draft]) -> None:
    """Let each fine-tuning start from a completed training."""
    sources = [run for run in pretraining if run.status == "COMPLETED"]
    for run in tuning if sources else ():
        run.links.append(("fine_tunes", rng.choice(sources)))


def make_odd(runs: list[Draft]) -> None:
    """Give the first runs values that are legal but may break careless pages."""
    for number, run in enumerate(runs):
        if number == 0:
            run.args = {**run.args, "resume_from": None}
        elif number == 1:
            run.tags = ["<script>alert('tag')</script>", '"quoted" & <b>bold</b>']
            run.comment = '<script>alert("comment")</script> it\'s 100 % legal'
        elif number == 2:
            run.stop("FAILED", 0.7)
            run.diverged_to, run.comment = math.inf, "loss is infinite"


# Times and places


def job_numbers(runs: Sequence[Draft], after: int) -> list[int]:
    """Return numbers of jobs that increase as on a busy cluster.

    If there are such runs, a resumed run gets the number 523459, the run that resumes it 523473, and a later completed
    run 523497, as in the examples of SQLTrack's documentation; unless one of these numbers is not above `after`.
    """
    gaps = random.Random(len(runs))
    numbers = dict(zip(find_known(runs), KNOWN_JOBS))
    first, known = min(numbers, default=0), dict(numbers)
    for position in range(first - 1, -1, -1):
        numbers[position] = numbers[position + 1] - gaps.randint(1, 3)
    for position in range(len(runs)):
        if position not in numbers:
            # Leave enough numbers before the next known one for the runs in between.
            following = [(other - position, number) for other, number in known.items() if other > position]
            most = min((number - others for others, number in following), default=math.inf)
            numbers[position] = int(min(numbers.get(position - 1, KNOWN_JOBS[0]) + gaps.randint(1, 3), most))
    shift = max(0, after + 1 - numbers[0])
    return [numbers[position] + shift for position in range(len(runs))]


# The resumed run, the run that resumes it, and a later run.
KNOWN_JOBS = (523_459, 523_473, 523_497)


def find_known(runs: Sequence[Draft]) -> list[int]:
    """Return the positions of runs that can have these numbers, or nothing."""
    positions = {id(run): position for position, run in enumerate(runs)}
    for position, run in enumerate(runs):
        targets = [target for kind, target in run.links if kind == "resumes"]
        if not targets or run.status != "COMPLETED" or targets[0].steps.start > 0:
            continue
        resumed = positions[id(targets[0])]
        later = [
            other
            for other in range(position + 1, min(position + 25, len(runs)))
            if runs[other].status == "COMPLETED" and runs[other].experiment != run.experiment
        ]
        if position - resumed <= KNOWN_JOBS[1] - KNOWN_JOBS[0] and later:
            return [resumed, position, later[0]]
    return []


def schedule(rng: random.Random, runs: list[Draft], epochs: int, now: datetime) -> None:
    """Set the times of an experiment's runs. Runs that they link to must have theirs, or come first."""
    longest = epochs * timedelta(seconds=max(model.seconds for model in MODELS.values()))
    span = max(timedelta(days=60), 20 * longest)
    for number, run in enumerate(runs):
        topic = TOPICS[run.experiment]
        share = topic.begin + (topic.end - topic.begin) * (number + rng.random()) / len(runs)
        wait = timedelta(minutes=rng.uniform(0, 60))
        if run.status == "PLANNED":
            # The time when the experiment began, so that the newest runs have metrics.
            earliest = [target.updated + wait for _, target in run.links if target.updated]
            run.created = max([now - span * (1 - topic.begin) + wait, *earliest])
        elif run.status == "RUNNING":
            run.updated = now - run.idle
            run.started = run.updated - run.duration
            run.created = run.started - wait
        else:
            earliest = [target.updated + wait for _, target in run.links if target.updated]
            run.created = max([now - span * (1 - share), *earliest])
            run.started = run.created + wait
            run.updated = run.started + run.duration


def describe(rng: random.Random, run: Draft) -> None:
    """Add tags, a comment, the environment and extras to a run."""
    chances = {"marked": 0.08, "paper": 0.1, "baseline": 0.5 if run.experiment == BASELINES else 0.0}
    run.tags += [tag for tag, chance in chances.items() if rng.random() < chance]
    if run.comment is None and rng.random() < 0.1:
        run.comment = rng.choice(("looks good", "better than expected, check the split", "for figure 3"))
    if run.status == "PLANNED":
        return
    gpus = rng.choice(("0", "0,1", "0,1,2,3"))
    run.env = {
        "SOURCE": {PRETRAINING: "pretrain.py", FINE_TUNING: "finetune.py"}.get(run.experiment, "train.py"),
        "GIT_COMMIT": rng.choice(COMMITS),
        "USER": rng.choice(("alice", "bob")),
        "HOSTNAME": "workstation",
        "CUDA_VISIBLE_DEVICES": gpus,
    }
    if run.experiment != DEBUG and rng.random() < 0.9:
        run.env |= slurm_env(run, node=f"node{rng.randrange(1, 17):02d}", gpus=gpus)
    if rng.random() < 0.4:
        memory = int(MODELS[run.args["model"]].memory_mb * rng.uniform(0.95, 1.05))
        run.extras = {"gpu": rng.choice(("A100", "V100")), "peak_memory_mb": memory}


def slurm_env(run: Draft, node: str, gpus: str) -> dict[str, str]:
    """Return the environment variables that Slurm adds."""
    env = {
        "HOSTNAME": node,
        "SLURM_JOBID": str(run.job),
        "SLURM_JOB_ID": str(run.job),
        "SLURM_JOB_NAME": run.args["model"],
        "SLURM_JOB_NODELIST": node,
        "SLURM_JOB_PARTITION": "gpu-long" if run.experiment == PRETRAINING else "gpu",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": str(len(gpus.split(","))),
    }
    if run.experiment == SWEEP:
        env |= {"SLURM_ARRAY_JOB_ID": "522999", "SLURM_ARRAY_TASK_ID": str(run.args["seed"])}
    return env


# Metrics


def measure(run: Draft) -> Iterator[dict[str, Any]]:
    """Yield the metrics of a run, epoch by epoch."""
    noise = random.Random(run.seed)
    top1, epochs = best_top1(run), run.args["epochs"]
    for number, step in enumerate(run.steps):
        is_last = step == epochs - 1
        row = {**NO_METRICS, "step": step, "progress": (step + 1) / epochs, "lr": learning_rate(run.args, step)}
        row |= train_and_validate(noise, run.args, top1, (step + 1) / epochs)
        row |= times_of_epoch(noise, run, number)
        if run.diverged_to is not None and len(run.steps) - number <= 2:
            row |= dict.fromkeys(("train_loss", "val_loss"), run.diverged_to)
            row |= {"train_top1": 0.001, "train_top5": 0.005, "val_top1": 0.001, "val_top5": 0.005}
        if is_last and run.status == "COMPLETED":
            test_top1 = clip(row["val_top1"] + noise.gauss(-0.005, 0.003))
            row |= {"test_loss": row["val_loss"] * 1.02, "test_top1": test_top1, "test_top5": top5(test_top1)}
        if run.experiment == PRETRAINING:
            row["gpu util %"] = round(min(100.0, noise.gauss(93, 4)), 1)
        yield row


def best_top1(run: Draft) -> float:
    """Return the accuracy that a training would reach without overfitting."""
    distance = math.log10(run.args["lr"] / BEST_LR[run.args["optimizer"]])
    bonus = 0.01 * len(run.args["augmentation"]) + (0.08 if run.args.get("pretrained") else 0.0)
    return clip(MODELS[run.args["model"]].top1 - 0.06 * distance**2 + bonus + 0.004 * run.luck)


def train_and_validate(noise: random.Random, args: dict[str, Any], top1: float, progress: float) -> dict[str, float]:
    """Return losses and accuracies after a part of the training.

    Accuracy approaches its limit. The network overfits from about the middle on, less so with more augmentation: the
    validation loss has a minimum, while the validation accuracy hardly changes any more.
    """
    learned = 1 - math.exp(-5 * progress)
    overfit = max(0.0, progress - 0.5) / (1 + len(args["augmentation"]))
    train_top1 = clip((top1 + 0.1 * progress) * learned + noise.gauss(0, 0.003))
    val_top1 = clip(top1 * learned - 0.03 * overfit + noise.gauss(0, 0.003))
    return {
        "train_loss": (0.2 + 6.7 * (1 - learned * min(0.98, top1 + 0.12))) * math.exp(noise.gauss(0, 0.01)),
        "train_top1": train_top1,
        "train_top5": top5(train_top1),
        "val_loss": (0.3 + 6.6 * (1 - learned * min(0.95, top1 + 0.08)) + 12 * overfit**2)
        * math.exp(noise.gauss(0, 0.01)),
        "val_top1": val_top1,
        "val_top5": top5(val_top1),
    }


def times_of_epoch(noise: random.Random, run: Draft, number: int) -> dict[str, datetime]:
    """Return when training and validation begin and end in an epoch; `number` counts a run's epochs from 0."""
    assert run.started is not None
    begin = run.started + SETUP_TIME + number * run.epoch_time
    train_end = begin + run.epoch_time * noise.uniform(0.80, 0.88)
    val_end = begin + run.epoch_time * noise.uniform(0.92, 0.99)
    return {"train_start": begin, "train_end": train_end, "val_start": train_end, "val_end": val_end}


def learning_rate(args: dict[str, Any], step: int) -> float:
    """Return the learning rate of an epoch."""
    progress, lr = step / args["epochs"], float(args["lr"])
    if args["schedule"] == "cosine":
        return lr * (1 + math.cos(math.pi * progress)) / 2
    return lr * 0.1 ** int(3 * progress) if args["schedule"] == "step" else lr


def top5(top1: float) -> float:
    """Return the top-5 accuracy for a top-1 accuracy."""
    return 1 - (1 - top1) ** 2


def clip(accuracy: float) -> float:
    return min(max(accuracy, 0.001), 0.995)
