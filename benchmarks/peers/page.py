"""benchmarks/peers.md from the results: the tables, and around them the text of page.md.

    python benchmarks/peers/page.py

page.md holds ``{{ table }}`` where a table belongs; a part that was not run yet is named as such.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE.parent / "peers.md"
FLOOR = "memmap"
OF_FLOOR = 0.8  # of the memory map's shuffled epoch, which samcache is to reach

Part = dict[str, Any]


def main() -> None:
    """Write the page."""
    TARGET.write_text(page(HERE / "results"), encoding="utf-8")


def page(folder: Path) -> str:
    """The page's text from a folder of results."""
    parts = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    stores = {name: part for name, part in sorted(parts.items()) if name.startswith("store-")}
    encoders = {name: part for name, part in sorted(parts.items()) if name.startswith("encoder-")}
    tables = {
        "store": joined(stores, store_section),
        "s3": joined({name: part for name, part in stores.items() if has_s3(part)}, s3_section),
        "encoder": joined(encoders, encoder_section),
        "two_stage": joined(only(parts, "two-stage"), two_stage_section),
        "faults": joined(only(parts, "faults"), faults_section),
        "flips": joined(only(parts, "faults"), flips_table),
        "commands": joined(only(parts, "faults"), command_list),
    }
    text = (HERE / "page.md").read_text("utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: tables[found[1]], text)


def only(parts: dict[str, Part], name: str) -> dict[str, Part]:
    """One part, if it was run."""
    return {name: parts[name]} if name in parts else {}


def joined(parts: dict[str, Part], section: Callable[[Part], str]) -> str:
    """Every part's section."""
    return "\n\n".join(map(section, parts.values())) or "*Not run yet.*"


def has_s3(part: Part) -> bool:
    """Whether a part was run over S3."""
    return any(row.get("s3") for row in part["rows"].values())


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts(part: Part) -> str:
    """On what machine, when loaded how, by what command."""
    found, place = part["facts"], part["facts"]["machine"]
    told = [f"`{found['command']}`", f"{place['cores']} cores, {place['memory_GiB']} GiB"]
    told += [place["gpu"] or "no GPU", f"{place['threads']} torch threads"]
    told += [f"load {place['load_at_start']} at the start"]
    versions = ", ".join(f"{name} {number}" for name, number in place["versions"].items())
    note = f" **{found['note']}.**" if found["note"] else ""
    return f"{'; '.join(told)}; Python {place['python']}, {versions}.{note}"


def middle(row: dict[str, Any], state: str, figure: Callable[[dict[str, Any]], float]) -> float:
    """The median of a figure over the runs of one state."""
    return median(figure(run) for run in row[state])


def epoch_rate(row: dict[str, Any]) -> float:
    """samples/s of a shuffled epoch after the first, everything in the system's cache."""
    return middle(row, "warm", lambda run: median(run["samples_s"][1:] or run["samples_s"]))


def store_section(part: Part) -> str:
    """Part 1, one data set."""
    rows, found = part["rows"], part["facts"]
    floor = epoch_rate(rows[FLOOR])
    head = ["", "write, s", "MB", "files", "first batch cold, s", "first batch warm, s"]
    head += ["epoch cold, samples/s", "epoch warm, samples/s", "of the floor", "memory, MiB"]
    lines = []
    for row in sorted(rows.values(), key=epoch_rate, reverse=True):
        written = ["the same", "", ""]  # another row's files, read in another way
        if "write_s" in row:
            written = [f"{row['write_s']:.1f}", f"{row['bytes'] / 1e6:.0f}", str(row["files"])]
        peak = middle(row, "warm", lambda run: run["peak_MiB"])
        private = middle(row, "warm", lambda run: run["private_MiB"])
        lines.append(
            [
                row["title"],
                *written,
                *(
                    f"{middle(row, state, lambda run: run['first_batch_s']):.2f}"
                    for state in ("cold", "warm")
                ),
                f"{middle(row, 'cold', lambda run: run['samples_s'][0]):.0f}",
                f"{epoch_rate(row):.0f}",
                f"{epoch_rate(row) / floor:.2f}",
                f"{peak:.0f} ({private:.0f})",
            ]
        )
    title = f"**{found['data']}** at {found['px']} px, {found['samples']} samples.\n\n"
    return title + table(head, lines) + f"\n\n{store_verdict(rows)}\n\n{facts(part)}"


def store_verdict(rows: dict[str, Any]) -> str:
    """Which of the targets are met, from the figures alone."""
    floor, ours = epoch_rate(rows[FLOOR]), epoch_rate(rows["samcache"])
    others = {key: row for key, row in rows.items() if not key.startswith("samcache")}
    ahead = [
        row["title"] for key, row in others.items() if key != FLOOR and epoch_rate(row) >= ours
    ]
    fewer = [row["title"] for row in others.values() if row["files"] < rows["samcache"]["files"]]
    first = rows["samcache"]
    wait = middle(first, "cold", lambda run: run["first_batch_s"])
    sooner = [
        row["title"]
        for row in others.values()
        if middle(row, "cold", lambda run: run["first_batch_s"]) < wait
    ]
    reached = "reached" if ours >= OF_FLOOR * floor else "missed"
    direct = epoch_rate(rows["samcache-rows"]) / floor
    return (
        f"Target, shuffled epoch at least {OF_FLOOR} of the memory map: {reached} "
        f"({ours / floor:.2f} in memory as `train` reads it; {direct:.2f} row by row). Faster than "
        f"samcache, the memory map aside: {', '.join(ahead) or 'none'}. Fewer files: "
        f"{', '.join(fewer) or 'none'}. First batch sooner, cold: {', '.join(sooner) or 'none'}."
    )


def s3_section(part: Part) -> str:
    """Part 1 over S3."""
    head = ["", "how", "first batch, s", "first epoch, samples/s"]
    rows = [row for row in part["rows"].values() if row.get("s3")]
    lines = [
        [
            row["title"],
            row["remote"],
            f"{middle(row, 's3', lambda run: run['first_batch_s']):.2f}",
            f"{middle(row, 's3', whole_rate(part)):.0f}",
        ]
        for row in sorted(rows, key=lambda row: middle(row, "s3", whole_rate(part)), reverse=True)
    ]
    found = part["facts"]
    return f"**{found['data']}** at {found['px']} px\n\n" + table(head, lines)


def whole_rate(part: Part) -> Callable[[dict[str, Any]], float]:
    """samples/s from opening to the end of the first epoch."""
    count = part["facts"]["samples"]
    return lambda run: count / (run["open_s"] + count / run["samples_s"][0])


def encoder_section(part: Part) -> str:
    """Part 2."""
    head = ["px", "batch", "", "images/s", "CPU s/image", "peak memory above weights, MiB"]
    head += ["largest difference, of the largest value"]
    lines = [
        [
            str(row["px"]),
            str(row["batch"]),
            row["by"],
            f"{row['batch'] / median(row['wall_s']):.3g}",
            f"{median(row['cpu_s']) / row['batch']:.3g}",
            f"{row['peak_MiB']:.0f}",
            f"{row['difference']:.0e}",
        ]
        for row in part["rows"].values()
    ]
    return table(head, lines) + f"\n\n{encoder_verdict(part)}\n\n{facts(part)}"


def encoder_verdict(part: Part) -> str:
    """samcache's speed-ups, as medians over rounds of the others' time by its own."""
    lines = []
    for key, ours in part["rows"].items():
        place, _, by = key.rpartition("/")
        if by != "samcache":
            continue
        ratios = []
        for other in (row for name, row in part["rows"].items() if name.startswith(f"{place}/")):
            pairs = zip(other["wall_s"], ours["wall_s"], strict=True)
            ratios.append(f"{other['by']} {median(a / b for a, b in pairs):.2f}")
        told = ", ".join(ratio for ratio in ratios if not ratio.startswith("samcache"))
        lines.append(f"{ours['px']} px, batch {ours['batch']}: their time by samcache's: {told}.")
    return " ".join(lines)


def two_stage_section(part: Part) -> str:
    """Part 3."""
    found = part["facts"]
    lines = [[row["title"], f"{median(row['wall_s']):.1f}"] for row in part["rows"].values()]
    title = (
        f"**{found['data']}**, {found['images']} images, {found['encoder']} at {found['px']} px, "
        f"{found['epochs']} epochs.\n\n"
    )
    return title + table(["", "wall, s"], lines) + f"\n\n{facts(part)}"


def faults_section(part: Part) -> str:
    """Part 4."""
    titles = list(dict.fromkeys(key.rpartition("/")[0] for key in part["rows"]))
    systems = list(dict.fromkeys(key.rpartition("/")[2] for key in part["rows"]))
    lines = [
        [
            title,
            *(
                part["rows"].get(f"{title}/{system}", {}).get("outcome", "not run")
                for system in systems
            ),
        ]
        for title in titles
    ]
    return table(["", *systems], lines) + f"\n\n{facts(part)}"


def flips_table(part: Part) -> str:
    """What each format's reader does with a flipped bit."""
    found = part["facts"].get("formats", {})
    return table(["format", "one flipped bit in a value"], [list(item) for item in found.items()])


def command_list(part: Part) -> str:
    """The commands of part 4 in order, with exit status and last words."""
    lines = []
    for key, row in part["rows"].items():
        lines.append(f"{key}\n")
        for told in row["commands"]:
            lines.append(f"    {told['command']}")
            lines.append(f"    # exit {told['exit']}, {told['cached']} cached: {told['says']}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
