"""Part 4: the same faults put to samcache, kaiko-eva and LitData, and to every format of part 1.

    python benchmarks/peers/run.py faults

Synthetic images and a tiny encoder with random weights: what is asked is what each system does.
Every cell comes from commands that are run here and kept with their exit status and last words.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["LITDATA_DISABLE_VERSION_CHECK"] = "1"
HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests" / "helpers"
sys.path[:0] = [str(HERE), str(HERE.parent), str(TESTS)]

from flips import flip_in_formats, flip_vector  # noqa: E402
from images import write_images  # noqa: E402
from results import Results, say  # noqa: E402
from tiny_encoder import SIDE, save_tiny_checkpoint  # noqa: E402

IMAGES = 240
PLACE = re.compile(r"(?<![\w.:/])/(?:[^\s:/'\"]+/)+")  # of this machine, before a file's name
# cached images; kaiko-eva writes a hundred at a time, LitData's tiny chunks within a second
KILLED_AT = {"samcache": 200, "kaiko-eva": 200, "LitData": 16}
PATIENCE = 300  # seconds until a command is said to hang; none takes half of that
HUNG = -1
SYSTEMS = ("samcache", "kaiko-eva", "LitData")


@dataclass
class Trial:
    """One system before one fault, in a folder of its own; every command is kept."""

    system: str
    folder: Path
    commands: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.labels = write_images(None, self.folder / "images", IMAGES)
        self.checkpoint = save_tiny_checkpoint(self.folder / "tiny.pth")
        self.cache = self.folder / "cache"

    def stage_1(self) -> list[str]:
        """The command that fills the cache."""
        end = [str(self.cache), "vit_tiny", str(self.checkpoint), str(SIDE)]
        if self.system == "kaiko-eva":
            return [str(HERE / "eva_job.py"), "predict", str(self.labels), *end]
        if self.system == "LitData":
            return [str(HERE / "litdata_job.py"), "optimize", str(self.labels), *end]
        words = ["extract", str(self.labels), "--store", f"{self.cache}.zarr", "--pool", "2"]
        words += ["--encoder", "vit_tiny", "--checkpoint", str(self.checkpoint)]
        words += ["--shard-rows", "16", "--batch-size", "8"]
        return [str(TESTS / "tiny_cli.py"), "0.3", *words]

    def stage_2(self) -> list[str]:
        """The command that trains, or with LitData reads, what is cached."""
        if self.system == "kaiko-eva":
            return [str(HERE / "eva_job.py"), "fit", str(self.cache), "1", "1"]
        if self.system == "LitData":
            return [str(HERE / "litdata_job.py"), "read", str(self.cache)]
        words = ["train", f"{self.cache}.zarr", "--out", str(self.folder / "run"), "--overwrite"]
        words += ["--epochs", "1", "--seeds", "0", "--image-size", "32", "--stem", "small"]
        return ["-m", "samcache.cli", *words]

    def cached(self) -> int:
        """Images, or with LitData chunks, that are in the cache."""
        patterns = {"samcache": "commits/*", "kaiko-eva": "*.pt", "LitData": "chunk*.bin"}
        root = Path(f"{self.cache}.zarr") if self.system == "samcache" else self.cache
        found = sum(path.name != "zarr.json" for path in root.rglob(patterns[self.system]))
        return 16 * found if self.system != "kaiko-eva" else found

    def shortened(self, text: str) -> str:
        """A text without this machine's folders."""
        for place in (self.folder, HERE.parents[1]):
            text = text.replace(f"{place}/", "")
        return PLACE.sub("", text)

    def run(self, words: list[str], kill_when: Callable[[], bool] | None = None) -> tuple[int, str]:
        """Exit status and last words of a command, killed with all its processes if asked."""
        log = self.folder / f"{len(self.commands)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *words], stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True, env={**os.environ, "PYTHONPATH": str(TESTS)},
            )  # fmt: skip
            ends, hung = time.monotonic() + PATIENCE, False
            while process.poll() is None:
                hung = time.monotonic() > ends
                if hung or (kill_when is not None and kill_when()):
                    os.killpg(process.pid, signal.SIGKILL)
                    break
                time.sleep(0.01)
            status = process.wait()
            status = HUNG if hung else status
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        last = next((line for line in reversed(lines) if line), "") if status >= 0 else ""
        last = f"killed: no end after {PATIENCE} s" if status == HUNG else last
        shown, last = (self.shortened(text) for text in (" ".join(["python", *words]), last))
        told = {"command": shown, "exit": status, "says": last[:300]}
        self.commands.append({**told, "cached": self.cached()})
        return status, " ".join(lines)


def killed(trial: Trial) -> str:
    """kill -9 once most images are in the cache; then stage 2, then the same command again."""
    trial.run(trial.stage_1(), lambda: trial.cached() >= KILLED_AT[trial.system])
    left = trial.cached()
    assert trial.commands[0]["exit"] == -signal.SIGKILL, "it ended before it was killed"
    assert left < IMAGES, "killed too late"
    second, text = trial.run(trial.stage_2())
    again, _ = trial.run(trial.stage_1())
    early = "stage 2 fails"
    if second == 0:
        warned = "not extracted yet" in text
        early = f"stage 2 runs on what is there, {'and says so' if warned else 'without a word'}"
    if again:
        return f"{left} of {IMAGES} cached; {early}; the same command again is refused"
    return f"{left} of {IMAGES} cached; {early}; the same command again finishes ({trial.cached()})"


def corrupt(trial: Trial) -> str:
    """One image file cut in half."""
    file = trial.labels.parent / "train-00100.png"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    status, _ = trial.run(trial.stage_1())
    if status == 3:
        return "goes on; the image is recorded with its reason; exit status 3"
    kept = trial.cached()
    if status == HUNG:
        return f"fails and then hangs until it is killed, {kept} of {IMAGES} cached"
    return f"crashes, {kept} of {IMAGES} cached" if status else "goes on without a word"


def flipped(trial: Trial) -> str:
    """One bit of a cached value."""
    assert trial.run(trial.stage_1())[0] == 0
    key = flip_vector(trial.system, trial.cache)
    status, text = trial.run(trial.stage_2())
    if status:
        return "refuses, naming the file" if key in text.replace(" ", "") else "crashes"
    return "silently wrong: goes on with the damaged value"


def changed_checkpoint(trial: Trial) -> str:
    """Other weights in the file of the same name; stage 1 again, then stage 2."""
    assert trial.run(trial.stage_1())[0] == 0
    save_tiny_checkpoint(trial.checkpoint, seed=1)
    status, _ = trial.run(trial.stage_1())
    second, _ = trial.run(trial.stage_2())
    if status and "weights" in trial.commands[1]["says"]:
        return "refuses, naming the weights"
    first = "refuses any second run" if status else "runs"
    then = "fails" if second else "takes the old features"
    return f"{first}, says nothing of the weights; stage 2 {then}"


FAULTS = {
    "kill -9 in stage 1": killed,
    "one corrupt image": corrupt,
    "one flipped bit in the cache": flipped,
    "a changed checkpoint, same name": changed_checkpoint,
}


def main() -> None:
    """Put every fault to every system, and flip a bit in every format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for everything written")
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    parser.add_argument("--note", default="", help="kept with the results")
    options = parser.parse_args()
    results = Results("faults", options.again, options.note)
    results.facts |= {"images": IMAGES, "command": "run.py faults"}
    options.work.mkdir(parents=True, exist_ok=True)
    for title, fault in FAULTS.items():
        for system in SYSTEMS:
            if f"{title}/{system}" in results.rows:
                continue
            folder = Path(tempfile.mkdtemp(dir=options.work)) / "trial"
            trial = Trial(system, folder)
            outcome = fault(trial)
            results.row(f"{title}/{system}").update(outcome=outcome, commands=trial.commands)
            results.save()
            say(f"{title}, {system}: {outcome}")
            shutil.rmtree(folder.parent)
    results.facts["formats"] = flip_in_formats(options.work)
    results.save()


if __name__ == "__main__":
    main()
