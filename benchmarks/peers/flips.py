"""One bit flipped in a value that a cache holds."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from samcache.cache.store import Store


def flip_vector(system: str, cache: Path) -> str:
    """In the first sample that kaiko-eva, LitData or samcache cached; the file's place in it."""
    if system == "samcache":
        store = Store(f"{cache}.zarr")
        value, root = store.read_features("neck", 0, 1), Path(store.location)
    elif system == "kaiko-eva":
        root = cache / "embeddings"
        value = torch.load(sorted(root.rglob("*.pt"))[0], weights_only=True)[0].numpy()
    else:
        import litdata

        root = cache
        value = litdata.StreamingDataset(str(cache))[0]["vector"].numpy()
    return flip(value, root)


def flip(value: np.ndarray, root: Path) -> str:
    """The lowest bit of a value's last byte, in the file below ``root`` that holds its bytes."""
    wanted = value.tobytes()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            data = bytearray(path.read_bytes())
            place = data.find(wanted)
            if place >= 0:
                data[place + value.itemsize - 1] ^= 1
                path.write_bytes(bytes(data))
                return path.relative_to(root).as_posix()
    raise FileNotFoundError(f"no file below {root} holds the value")


def flip_in_formats(work: Path) -> dict[str, str]:
    """Title of each format -> what its reader does with one flipped bit."""
    from formats import Features
    from store import FORMATS
    from store import check as sums_of

    rng = np.random.default_rng(0)
    shapes = {"early": (4, 8, 8), "neck": (8, 4, 4)}
    maps = {
        level: rng.standard_normal((70, *shape)).astype(np.float16)
        for level, shape in shapes.items()
    }
    features, found = Features(maps, np.arange(70) % 2), {}
    for key, form in FORMATS.items():
        with tempfile.TemporaryDirectory(dir=work) as name:
            folder, scratch = Path(name) / "written", Path(name) / "scratch"
            folder.mkdir()
            scratch.mkdir()
            writer = FORMATS[form.source or key]
            writer.write(writer.prepare(features, scratch), folder)
            before = sums_of(key, str(folder))
            flip(maps["neck"][3], folder)
            try:
                after = sums_of(key, str(folder))
            except Exception as error:
                found[form.title] = f"refuses: {type(error).__name__}"
            else:
                found[form.title] = "silently wrong" if after != before else "not noticed"
    return found
