"""Feeds damaged files to a reader for some minutes: python tests/fuzz.py idx --minutes 10.

What may happen is a DataError, or a result that holds what it promises. Anything else is kept in tests/corpus/, which
the suite replays. Mutations know the format; where atheris is installed, --atheris lets it look for new paths instead.
"""

import argparse
import gzip
import hashlib
import random
import re
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from idxfiles import compressed, files, write

import bp_torch as bp

CORPUS = Path(__file__).parent / "corpus"
WHOLE = files(4, 4)
TARGET = "kind"
NUMBERS = [0, 1, 2, 3, 27, 28, 29, 30, 31, 127, 128, 255, 256, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]
TOKENS = [
    *(
        b",",
        b";",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b'"',
        b'""',
        b" ",
        b"\0",
        b"'",
        b"\\",
        b"\x1a",
        b"\xff",
        b"\xef\xbb\xbf",
    ),
    *(b"kind", b"a", b"nan", b"inf", b"-inf", b"1e308", b"-1e308", b"1e999", b"1e-999", b"-0", b"1_0", b"NA", b"?"),
    *(b"\xff", b"\xef\xbb\xbf", b"0x1", b"1" * 400, b"9" * 20, b"2.5", b"7"),
    *(text.encode() for text in ("é", "\N{ARABIC-INDIC DIGIT ONE}", "\x85", "\u2028", "\N{PARTY POPPER}")),
]


def check_idx(data: bytes, folder: Path) -> str:
    """Reads the bytes as training images and as training labels, each beside a whole file. Says how it ended."""
    suffix = ".gz" if data[:2] == b"\x1f\x8b" else ""
    ends = []
    for which in ("images-idx3", "labels-idx1"):
        place = folder / which
        if not place.is_dir():
            write(place, WHOLE)
            (place / f"train-{which}-ubyte").unlink()
        path = place / f"train-{which}-ubyte{suffix}"
        path.write_bytes(data)
        try:
            ends.append(_read_idx(place, path))
        finally:
            path.unlink()
    return " | ".join(ends)


def _read_idx(folder: Path, path: Path) -> str:
    try:
        x, y = bp.data.idx(folder, "train")
    except bp.DataError as error:
        return _named(path, error)
    demand(x.ndim == 2 and len(x) == len(y) > 0, "a row for each label")
    demand(x.dtype == torch.float32 and y.dtype == torch.int64, "dtypes")
    demand(0 <= float(x.min()) <= float(x.max()) <= 1, "pixels in [0, 1]")
    return "read"


def check_csv(data: bytes, folder: Path) -> str:
    """Reads the bytes as a table, its target as what it is, as classes, and as values. Says how it ended."""
    return " | ".join(_read_csv(data, folder, task) for task in (None, "classification", "regression"))


def _read_csv(data: bytes, folder: Path, task: str | None) -> str:
    path = folder / "table.csv"
    path.write_bytes(data)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            table = bp.data.table(path, target=TARGET, task=task)
    except bp.DataError as error:
        return _named(path, error)
    except ValueError as error:
        demand(f"has no column {TARGET!r}" in str(error), f"an argument's error, not {error}")
        return "no such column"
    demand(all(str(path) in str(warning.message) for warning in said), "warnings that name the file")
    demand(task is None or (table.classes is not None) == (task == "classification"), "the task that was asked for")
    if table.classes is not None:
        demand(1 < len(set(table.classes)) == len(table.classes), "classes of different names")
        demand(table.train[1].unique().tolist() == list(range(len(table.classes))), "every class in the training part")
    for x, y in (table.train, table.test):
        demand(len(x) == len(y) > 0 and x.shape[1] == len(table.columns) > 0, "shapes")
        demand(bool(x.isfinite().all() and y.isfinite().all()), "finite values")
        demand(table.classes is None or 0 <= int(y.min()) <= int(y.max()) < len(table.classes), "classes in range")
    return "read"


def _named(path: Path, error: bp.DataError) -> str:
    demand(str(path) in str(error), f"an error that names {path}, not {error}")
    return re.sub(r"\d+", "#", str(error).split(str(path))[-1])[:30]


def demand(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(f"the reader promises {what}")


def seeds_idx() -> list[bytes]:
    return [*WHOLE.values(), *compressed(WHOLE).values(), b"\0\0\x08\3" + b"\xff" * 12, bytes([0, 0, 8, 1])]


def seeds_csv() -> list[bytes]:
    rows = [f"{k},{k * k / 7},{'xyz'[k % 3]}" for k in range(12)]
    real = [f"{k};{k / 3}" for k in range(12)]
    return [
        "\n".join(["a,b,kind", *rows]).encode(),
        "\r\n".join(["a;kind", *real]).encode(),
        "\n".join(["kind\ta", *(f"{k % 4}\t{k}" for k in range(12))]).encode(),
        b'a,"kind"\n"1",x\n\n"2","y, z"\n3,x\n',
    ]


def mutate_idx(data: bytes, rng: random.Random) -> bytes:
    """A few changes to the file, or to what is inside a gzip file, which may then promise another size than it has."""
    inside = data
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.6:
        try:
            inside = gzip.decompress(data[:10_000])
        except (OSError, EOFError, ValueError):
            return mutated(data, rng)
        return _packed(_header_changed(mutated(inside, rng), rng), rng)
    changed = _header_changed(mutated(inside, rng), rng)
    return _packed(changed, rng) if rng.random() < 0.2 else changed


def _header_changed(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        at = 4 + 4 * rng.randrange(4)
        data = data[:at] + rng.choice(NUMBERS).to_bytes(4, "big") + data[at + 4 :]
    return data


def _packed(data: bytes, rng: random.Random) -> bytes:
    """A gzip file of it; now and then a bomb, of up to 64 MiB, which is never whole in memory here."""
    stream = zlib.compressobj(level=1, wbits=31)
    packed = bytearray(stream.compress(data))
    if rng.random() < 0.02:
        for _ in range(rng.choice([1, 16, 1024])):
            packed += stream.compress(bytes(1 << 16))
    packed += stream.flush()
    if rng.random() < 0.5:  # the size that an IDX header in it would ask for, so that the reader goes on
        size = 4 + 4 * data[3] if len(data) > 3 else 0
        shape = [int.from_bytes(data[k : k + 4], "big") for k in range(4, min(size, 17), 4)]
        packed[-4:] = ((size + _product(shape)) % 2**32).to_bytes(4, "little")
    return bytes(packed)


def _product(shape: list[int]) -> int:
    return shape[0] * _product(shape[1:]) if shape else 1


def mutate_csv(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data) + 1)
        data = data[:at] + rng.choice(TOKENS) * rng.choice([1, 1, 1, 2, 50]) + data[at + rng.choice([0, 0, 1, 3]) :]
    if rng.random() < 0.5:
        data = mutated(data, rng)
    return data.decode(errors="ignore").encode() if rng.random() < 0.9 else data


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes flipped, set, put in, taken out, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(changed):
                changed[at] = rng.randrange(256)
            case 2:
                changed[at:at] = rng.randbytes(rng.choice([1, 2, 4, 300]))
            case 3:
                del changed[at : at + rng.choice([1, 2, 4, 300])]
            case 4:
                changed[at:at] = changed[at : at + rng.choice([1, 4, 64])]
            case _:
                del changed[at:]
    return bytes(changed)


READERS: dict[str, tuple[Callable[[bytes, Path], str], Callable[[], list[bytes]], Callable[..., bytes]]] = {
    "idx": (check_idx, seeds_idx, mutate_idx),
    "csv": (check_csv, seeds_csv, mutate_csv),
}


def corpus(reader: str) -> list[Path]:
    return sorted(path for path in (CORPUS / reader).iterdir() if path.is_file())


def keep(reader: str, data: bytes) -> Path:
    """Adds a case to the corpus, and says where."""
    path = CORPUS / reader / hashlib.sha256(data).hexdigest()[:12]
    path.write_bytes(data)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="guided by coverage; needs pip install atheris")
    options = parser.parse_args()
    check, seeds, mutate = READERS[options.reader]
    if options.atheris:
        return guided(options.reader, options.minutes)
    rng, ends, findings = random.Random(options.seed), Counter(), 0  # noqa: S311 (no secrets here)
    pool = [*seeds(), *(path.read_bytes() for path in corpus(options.reader))]
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() - started < 60 * options.minutes:
            data = mutate(rng.choice(pool), rng)
            try:
                end = check(data, Path(folder))
            except Exception:
                findings += 1
                print(f"found {keep(options.reader, data)}:\n{traceback.format_exc()}", flush=True)
                continue
            if ends[end] == 0 and len(pool) < 1000 and len(data) < 10_000:
                pool.append(data)  # a new way to end: go on from there
            ends[end] += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{options.reader}: {sum(ends.values())} files in {options.minutes:g} minutes, {len(ends)} ways to end, "
        f"{findings} findings; peak memory {peak / 1024:.0f} MiB, {before / 1024:.0f} MiB of it before the first file"
    )
    for end, count in ends.most_common(12):
        print(f"{count:9}  {end}")
    return int(findings > 0)


def guided(reader: str, minutes: float) -> int:
    """The same check with inputs that atheris chooses by the lines they reach; it ends the process itself."""
    atheris = import_module("atheris")  # a tool of its own, which the suite does without
    check, seeds, _ = READERS[reader]
    for module in (
        "idx",
        "table",
        "cells",
        "quick",
        "columns",
        "kinds",
        "fitting",
        "preprocessing",
        "faults",
        "targets",
    ):
        name = f"bp_torch.data.{module}"
        for value in vars(import_module(name)).values():
            if getattr(value, "__module__", "") == name and hasattr(value, "__code__"):
                atheris.instrument_func(value)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "seeds"
        start.mkdir()
        for number, data in enumerate([*seeds(), *(path.read_bytes() for path in corpus(reader))]):
            (start / str(number)).write_bytes(data)

        def one(data: bytes) -> None:
            try:
                check(data, Path(folder))
            except Exception:
                print(f"found {keep(reader, data)}", flush=True)
                raise

        arguments = [sys.argv[0], f"-max_total_time={int(60 * minutes)}", "-max_len=4096", "-rss_limit_mb=4096"]
        atheris.Setup([*arguments, str(start)], one)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
