"""Members trained one after another against the same members as one batched ensemble.

    OMP_NUM_THREADS=1 python benchmarks/bench_ensemble.py STORE

The ensemble is torch.func's: parameters and buffers stacked, one forward pass under vmap, one
optimizer over the stacks. Both ways take the same steps on the same batches from the same seeds, by
turns. Prints seconds of a step of all members (CPU seconds on a CPU), the median ratio within a
round, and how far the gradients of the first step are apart.
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from bench_train import timed
from torch import Tensor
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from samcache.cache.store import Store
from samcache.train.config import TrainConfig
from samcache.train.data.dataset import TrainingData
from samcache.train.data.load import load_training_data
from samcache.train.data.scaling import scale_inputs
from samcache.train.fit.build import build_classifier
from samcache.train.fit.precision import compute_in, resolve_precision
from samcache.train.model.classifier import Classifier
from samcache.train.run import plan_inputs
from samcache.train.tasks.trainings import plan_trainings

Inputs = tuple[Tensor, dict[str, Tensor], Tensor]  # images, pooled maps, labels
Step = Callable[[list[Inputs]], None]


def main() -> None:
    """Print a row for each way to attend."""
    options = arguments()
    store = Store(options.store)
    print(f"| {options.backbone}, {options.image_size} px, {options.members} members, ", end="")
    print(f"{options.device} | one by one | together | ratio | largest difference |\n{'|---' * 5}|")
    for attention in ("none", "slca"):
        config = TrainConfig(
            store.location, Path(), attention=attention, backbone=options.backbone,
            image_size=options.image_size, device=options.device,
            precision=resolve_precision("auto", torch.device(options.device)),
        )  # fmt: skip
        compare(store, config, options)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Benchmark of batched ensembles.")
    parser.add_argument("store")
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of each round")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def compare(store: Store, config: TrainConfig, options: argparse.Namespace) -> None:
    """Time both ways by turns and print their row."""
    device = torch.device(config.device)
    plan, _ = plan_inputs(config, store, plan_trainings(store, config.seeds))
    loaded = load_training_data(plan)
    data = scale_inputs(loaded, store, loaded.find_rows("train"))
    data = replace(data, residency="device").to(device)
    batches = drawn(data, options.members, config.batch_size)
    apart, together = (built(config, data, options.members) for _ in range(2))
    state = stack_module_state(together)
    ways = stepped_apart(apart, config), stepped_together(together[0], state, config)
    for way in ways:
        way(batches)  # which warms up too
    gap = difference(apart, state[0])
    rounds = []
    for _ in range(options.rounds):
        rounds.append([timed(functools.partial(repeat, way, batches, options.steps), device)
                       / options.steps for way in ways])  # fmt: skip
    first, second = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(a / b for a, b in rounds)
    print(f"| {config.attention} | {first:.3f} s | {second:.3f} s | {ratio:.2f} | {gap:.1e} |")


def repeat(way: Step, batches: list[Inputs], steps: int) -> None:
    """Some steps on the same batches."""
    for _ in range(steps):
        way(batches)


def drawn(data: TrainingData, members: int, size: int) -> list[Inputs]:
    """A batch for each member, of its own rows."""
    rows = data.find_rows("train").to(data.device)
    chosen = [rows[torch.randperm(len(rows))[:size]] for _ in range(members)]
    return [(*data.make_inputs(own), data.labels[own]) for own in chosen]


def built(config: TrainConfig, data: TrainingData, members: int) -> list[Classifier]:
    """Untrained members, a seed each."""
    models = []
    for seed in range(members):
        torch.manual_seed(seed)
        taps = config.resolve_taps(tuple(data.pooled))
        model = build_classifier(config, data, taps).to(data.device).train()
        models.append(model.to(memory_format=torch.channels_last))
    return models


def stepped_apart(models: list[Classifier], config: TrainConfig) -> Step:
    """A step of each member after another, as the training loop does it."""
    device = torch.device(config.device)
    optimizers = [
        torch.optim.AdamW(model.parameters(), lr=config.lr, fused=True) for model in models
    ]

    def step(batches: list[Inputs]) -> None:
        for model, optimizer, (images, pooled, labels) in zip(
            models, optimizers, batches, strict=True
        ):
            with compute_in(config.precision, device):
                logits = model(images, pooled)[0].float()
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(logits, labels))
            optimizer.step()

    return step


def stepped_together(
    model: Classifier, state: tuple[dict[str, Tensor], dict[str, Tensor]], config: TrainConfig
) -> Step:
    """A step of all members at once, of their stacked parameters and buffers, (members, …) each.

    The model lends its structure alone.
    """
    parameters, buffers = state
    device = torch.device(config.device)
    optimizer = torch.optim.AdamW(parameters.values(), lr=config.lr, fused=True)

    def loss(
        own: dict[str, Tensor], kept: dict[str, Tensor], images: Tensor,
        pooled: dict[str, Tensor], labels: Tensor,
    ) -> Tensor:  # fmt: skip
        with compute_in(config.precision, device):
            logits = functional_call(model, (own, kept), (images, pooled))[0].float()
        return F.cross_entropy(logits, labels)

    def step(batches: list[Inputs]) -> None:
        images, maps, labels = zip(*batches, strict=True)
        pooled = {level: torch.stack([own[level] for own in maps]) for level in maps[0]}
        losses = torch.vmap(loss)(
            parameters, buffers, torch.stack(images), pooled, torch.stack(labels)
        )
        optimizer.zero_grad()
        torch.autograd.backward(losses.sum())
        optimizer.step()

    return step


def difference(models: list[Classifier], parameters: dict[str, Tensor]) -> float:
    """The largest of the two ways' gradients, by the largest gradient of the same parameter."""
    apart = []
    for member, model in enumerate(models):
        for name, own in model.named_parameters():
            other = parameters[name].grad[member]
            apart.append((own.grad - other).abs().max() / own.grad.abs().max())
    return float(torch.stack(apart).max())


if __name__ == "__main__":
    main()
