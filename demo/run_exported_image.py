"""Print the probabilities of images: python run_exported_image.py PROGRAM FILE..."""

import sys

import numpy as np
from PIL import Image, ImageOps

program, *files = sys.argv[1:]
if program.endswith(".onnx"):
    import onnxruntime

    session = onnxruntime.InferenceSession(program)
else:
    import torch

    module = torch.export.load(program).module()
for file in files:
    pixels = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    image = np.array(pixels).transpose(2, 0, 1)[None]
    if program.endswith(".onnx"):
        (found,) = session.run(None, {"image": image})
    else:
        found = module(torch.from_numpy(image)).numpy()
    print(file, *found[0], sep=",")
