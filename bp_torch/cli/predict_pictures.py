"""Digits read from image files, and what the network saw of them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from bp_torch.cli.main import typed
from bp_torch.data import named
from bp_torch.data.pictures import Seen, seen
from bp_torch.runs import saved

CERTAIN = 0.75  # what the largest output of a certain reading reaches, and the next one stays 0.5 below
TALL = 240  # pixels of a row of what was seen


def predict(trained: saved.Run, paths: Sequence[Path], show: Path | None) -> None:
    """Prints a line for each picture; with show, writes there what was seen: a row each, the find beside the input."""
    net, config = trained.net, trained.config
    size = config.image(net.sizes[0])
    if size is None:
        if named.is_table(config.dataset):
            raise ValueError(
                f"{trained.folder} was trained on a table, and {paths[0]} is none: name a CSV, TSV or Parquet file. "
                f"Its test rows: {typed('predict', trained.folder)}"
            )
        raise ValueError(
            f"{trained.folder} was not trained on images whose height and width are known: "
            f"it takes {net.sizes[0]} values"
        )
    single, paper = config.dataset in named.OF_DIGITS, config.about.get("paper") or 0.0
    views = [seen(path, size, single=single, paper=paper) for path in paths]
    if show is not None:
        _show(views, size, show)
    x = torch.stack([view.x for view in views]).to(net.layers[0].w)
    for path, outputs in zip(paths, net.forward(x).a[-1], strict=True):
        (first, second), (read, perhaps) = (values.tolist() for values in outputs.topk(2))
        certain = first >= CERTAIN and first - second >= 2 * CERTAIN - 1  # for softmax, the first says the second
        shares = "  ".join(f"{c}: {share:.1%}" for c, share in enumerate(outputs.tolist()))
        print(f"{path}: {read}  ({shares}){'' if certain else f'  uncertain, perhaps {perhaps}'}")


def _show(views: Sequence[Seen], size: tuple[int, int], path: Path) -> None:
    """One PNG: for each picture a row, with the box around what was taken, and beside it the network's input."""
    import numpy as np
    from PIL import Image, ImageDraw

    rows = []
    for view in views:
        shades = view.shades if view.shades.shape[2] == 3 else np.repeat(view.shades, 3, axis=2)
        whole = Image.fromarray((shades * 255).round().astype(np.uint8))
        whole = whole.resize((max(1, round(whole.width * TALL / whole.height)), TALL))
        left, top, right, bottom = (share * (whole.width, whole.height)[k % 2] for k, share in enumerate(view.box))
        ImageDraw.Draw(whole).rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline="red", width=2)
        values = (view.x.view(size) * 255).round().byte().numpy()
        given = Image.fromarray(values).resize((round(size[1] * TALL / size[0]), TALL), Image.Resampling.NEAREST)
        row = Image.new("RGB", (whole.width + 8 + given.width, TALL), "white")
        row.paste(whole, (0, 0))
        row.paste(given, (whole.width + 8, 0))
        rows.append(row)
    sheet = Image.new("RGB", (max(row.width for row in rows), (TALL + 8) * len(rows) - 8), "white")
    for k, row in enumerate(rows):
        sheet.paste(row, (0, k * (TALL + 8)))
    sheet.save(path, "PNG")
