"""What an epoch costs with SLCA, without, and with the encoder run live; loading; a whole run.

    python benchmarks/bench_train.py STORE [--checkpoint mobile_sam.pt]

The three are measured by turns in one process on the same batches, and told as medians and as the
median of the ratios within a round. A live step encodes its images with the store's encoder at the
store's size and pools them, before the same step with SLCA; only a few of its steps are run, and
scaled to an epoch by their number; without a checkpoint there are none. On a CPU the times are CPU
seconds, which other work on the machine disturbs less; on a GPU they are seconds. Loading is in
seconds.
"""

import argparse
import functools
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from samcache.cache.store import Store
from samcache.commands.terminal.allocator import keep_freed_memory
from samcache.extract.encoders.of_identity import GivenEncoder, load_encoder_of
from samcache.extract.images.preprocess import normalise
from samcache.train.config import TrainConfig
from samcache.train.data.dataset import TrainingData
from samcache.train.data.load import InputPlan, load_training_data
from samcache.train.data.scaling import scale_inputs
from samcache.train.data.spreads import compute_spreads, find_level, is_spread
from samcache.train.fit import training as loop
from samcache.train.fit.build import build_classifier
from samcache.train.fit.precision import compute_in, resolve_precision
from samcache.train.model.pooling import divide_by_kernel
from samcache.train.run import plan_inputs, train
from samcache.train.tasks.trainings import plan_trainings

LIVE_STEPS = 2


def main() -> None:
    """Print the table of benchmarks/training.md."""
    keep_freed_memory()  # as the command line does
    options = arguments()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    store = Store(options.store)
    config = TrainConfig(
        store.location, Path(), backbone=options.backbone, image_size=options.image_size,
        epochs=options.epochs, seeds=(0, 1, 2), device=options.device, kernel=options.kernel,
        join=options.join,
    )  # fmt: skip
    print(f"{options.backbone}, {options.image_size} px, {options.threads} threads, {device}")
    loading(store, options.rounds)
    epochs(store, config, options.checkpoint, device, options.rounds)
    whole_run(config)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of all of this: {peak:.0f} MiB")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Benchmark of training.")
    parser.add_argument("store")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--kernel", type=int, help="by default as train chooses")
    parser.add_argument("--join", action="store_true")
    parser.add_argument("--epochs", type=int, default=10, help="of each training of the whole run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def loading(store: Store, rounds: int) -> None:
    """A store's images and levels against np.load of the same bytes from one file each."""
    sides = divide_by_kernel(store, store.identity.levels, store.identity.pool)
    side = store.identity.frame_size
    data = load_training_data(InputPlan.of(store, sides, side))
    arrays = [data.images.numpy(), *(maps.numpy() for maps in data.pooled.values())]
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.npy" for number in range(len(arrays))]
        for path, array in zip(paths, arrays, strict=True):
            np.save(path, array)
        for _ in range(rounds):
            ours = timed(lambda: load_training_data(InputPlan.of(store, sides, side)))
            times.append((ours, timed(lambda: [np.load(path) for path in paths])))
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    size = sum(array.nbytes for array in arrays) / 1e6
    print(f"loading {size:.1f} MB: {ours:.3f} s, checked; np.load: {theirs:.3f} s")


def epochs(
    store: Store, config: TrainConfig, checkpoint: Path | None, device: torch.device, rounds: int
) -> None:
    """An epoch with SLCA, without, and with the live encoder, by turns."""
    levels = store.identity.levels
    plan, _ = plan_inputs(config, store, plan_trainings(store, config.seeds))
    loaded = load_training_data(plan)
    data = scale_inputs(loaded, store, loaded.find_rows("train"))
    data = replace(data, residency="device").to(device)
    batches = list(torch.split(data.find_rows("train").to(device), config.batch_size))
    alone = replace(config, attention="none", kernel=None, join=False)
    plain = replace(data, pooled={})
    taps = config.resolve_taps(levels)
    ways = {
        "none": (stepper(alone, plain, {}, plain.make_inputs), batches),
        "slca": (stepper(config, data, taps, data.make_inputs), batches),
    }
    if checkpoint:
        live = live_inputs(store, data, checkpoint)
        ways["live encoder"] = stepper(config, data, taps, live), batches[:LIVE_STEPS]
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (step, chosen) in ways.items():
            seconds = timed(functools.partial(run_steps, step, chosen), device)
            if number:  # the first round warms up
                times[name].append(seconds * len(batches) / len(chosen))
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, times["none"], strict=True))
        print(f"epoch, {name}: {statistics.median(values):.2f} s, {ratio:.2f} x none")


def run_steps(step: Callable[[Tensor], None], batches: list[Tensor]) -> None:
    """A step for each batch."""
    for rows in batches:
        step(rows)


def stepper(
    config: TrainConfig,
    data: TrainingData,
    taps: dict[str, str],
    inputs: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]],
) -> Callable[[Tensor], None]:
    """A training step from the rows of a batch, as the loop does it."""
    torch.manual_seed(0)
    model = build_classifier(config, data, taps).to(data.device).train()
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, fused=True)
    precision = resolve_precision(config.precision, data.device)

    def step(rows: Tensor) -> None:
        given = inputs(rows)
        with compute_in(precision, data.device):
            heads = model(*given).float()
        loss = F.cross_entropy(heads.flatten(0, 1), data.labels[rows].repeat(len(heads)))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def live_inputs(
    store: Store, data: TrainingData, checkpoint: Path
) -> Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]:
    """Inputs whose maps the encoder computes on the spot, from the cached frames."""
    identity = store.identity
    encoder = load_encoder_of(identity, GivenEncoder(checkpoint))
    model = encoder.model.to(data.device)
    side = identity.image_size
    places = data.samples["row"].to_numpy()
    frames = torch.from_numpy(store.read_images(0, int(places.max()) + 1)[places])

    @torch.no_grad()
    def inputs(rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        batch = frames[rows.cpu()].to(data.device)
        if batch.shape[1] != side:
            planes = F.interpolate(batch.permute(0, 3, 1, 2).float(), (side, side))
            batch = planes.permute(0, 2, 3, 1).byte()
        found = model(normalise(batch, [(side, side)] * len(batch), identity.preprocessing))
        given = {
            name: data.scales[name].apply(
                compute_spreads(F.avg_pool2d(found[find_level(name)].float(), identity.pool))
                if is_spread(name)
                else F.adaptive_avg_pool2d(found[name].float(), pooled.shape[-1])
            )
            for name, pooled in data.pooled.items()
        }
        return data.make_inputs(rows)[0], given

    return inputs


def whole_run(config: TrainConfig) -> None:
    """All of ``samcache train`` after its imports, against the sum of its epochs."""
    clock = clock_of(torch.device(config.device))
    spent: list[float] = []
    run_epoch = loop._Training.run_epoch

    def timed_epoch(training: loop._Training) -> loop.EpochMetrics:
        started = clock()
        line = run_epoch(training)
        spent.append(clock() - started)
        return line

    timing = mock.patch.object(loop._Training, "run_epoch", timed_epoch)
    with tempfile.TemporaryDirectory() as folder, timing:
        started = clock()
        train(replace(config, out=Path(folder) / "run"))
        total = clock() - started
    print(
        f"run of {config.epochs} epochs with each of {len(config.seeds)} seeds: {total:.1f} s, its "
        f"epochs {sum(spent):.1f} s, ratio {total / sum(spent):.3f}"
    )


def timed(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Seconds of some work; CPU seconds where a CPU device is named."""
    clock = clock_of(device)
    started = clock()
    work()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def clock_of(device: torch.device | None) -> Callable[[], float]:
    """CPU seconds of this process on a CPU, else seconds."""
    on_cpu = device is not None and device.type == "cpu"
    return time.process_time if on_cpu else time.perf_counter


if __name__ == "__main__":
    main()
