"""Print the probabilities of a store's rows: python run_exported.py PROGRAM STORE."""

import json
import sys
from pathlib import Path

import numpy as np
import zarr

program, store = sys.argv[1], zarr.open_group(sys.argv[2], mode="r")
_, *levels = json.loads(Path(f"{program}.json").read_text())["inputs"]
if program.endswith(".onnx"):
    import onnxruntime

    session = onnxruntime.InferenceSession(program)
else:
    import torch

    module = torch.export.load(program).module()
for row in range(store["images"].shape[0]):
    images = np.moveaxis(store["images"][row : row + 1], 3, 1)
    maps = {level: store[f"features/{level}"][row : row + 1, 0] for level in levels}
    if program.endswith(".onnx"):
        (found,) = session.run(None, {"images": images, **maps})
    else:
        tensors = {level: torch.from_numpy(values) for level, values in maps.items()}
        found = module(torch.from_numpy(images), tensors).numpy()
    print(row, *found[0], sep=",")
