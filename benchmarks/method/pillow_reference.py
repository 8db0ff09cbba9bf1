"""The reward-side image path written the plain way with Pillow, for comparison with method/images.ts.

Each rollout opens the file, draws all boxes at full size, resizes the annotated image to its budget, cuts the first three crops from the
unannotated image and saves everything as JPEG. Reads a job as JSON on stdin, writes timings as JSON on stdout.
"""

import io
import json
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw


def smart_resize(height: int, width: int, rules: dict, budget: int) -> tuple[int, int]:
    """Height and width in multiples of the factor, inside the pixel budget."""
    factor = rules["factor"]
    h = max(factor, round(height / factor) * factor)
    w = max(factor, round(width / factor) * factor)
    if h * w > budget:
        shrink = math.sqrt(height * width / budget)
        h = max(factor, math.floor(height / shrink / factor) * factor)
        w = max(factor, math.floor(width / shrink / factor) * factor)
    elif h * w < rules["minPixels"]:
        grow = math.sqrt(rules["minPixels"] / (height * width))
        h = math.ceil(height * grow / factor) * factor
        w = math.ceil(width * grow / factor) * factor
    return h, w


def encode(image: Image.Image, rules: dict, budget: int) -> bytes:
    """The image resized to its budget, as JPEG."""
    height, width = smart_resize(image.height, image.width, rules, budget)
    out = io.BytesIO()
    image.resize((width, height), Image.Resampling.BICUBIC).save(out, "JPEG", quality=rules["jpegQuality"])
    return out.getvalue()


def evidence(path: str, boxes: list[list[float]], rules: dict) -> list[bytes]:
    """Annotated image and crops for one rollout; boxes as x1, y1, x2, y2 in pixels."""
    image = Image.open(path).convert("RGB")
    annotated = image.copy()
    draw = ImageDraw.Draw(annotated)
    line = max(rules["lineWidth"]["minPixels"], int(rules["lineWidth"]["fraction"] * image.width))
    for index, box in enumerate(boxes):
        colour = tuple(rules["colours"][index % len(rules["colours"])])
        draw.rectangle([int(v) for v in box], outline=colour, width=line)
    files = [encode(annotated, rules, rules["wholeImagePixels"])]
    padding = rules["cropPadding"]
    pad_x = min(padding["fraction"] * image.width, padding["maxPixels"])
    pad_y = min(padding["fraction"] * image.height, padding["maxPixels"])
    for x1, y1, x2, y2 in boxes[: rules["maxCrops"]]:
        left, top = int(max(0, x1 - pad_x)), int(max(0, y1 - pad_y))
        right, bottom = int(min(image.width, x2 + pad_x)), int(min(image.height, y2 + pad_y))
        files.append(encode(image.crop((left, top, right, bottom)), rules, rules["cropPixels"]))
    return files


def main() -> None:
    """Times every rollout of the image, on one thread or several, and writes each rollout's files."""
    job = json.load(sys.stdin)
    rollouts = job["rollouts"]
    evidence(job["path"], rollouts[0], job["rules"])
    start, cpu_start = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(job["threads"]) as pool:
        results = list(pool.map(lambda boxes: evidence(job["path"], boxes, job["rules"]), rollouts))
    timing = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
    for rollout, files in enumerate(results):
        for part, data in enumerate(files):
            Path(job["out"], f"{rollout}-{part}.jpg").write_bytes(data)
    print(json.dumps(timing))


if __name__ == "__main__":
    main()
