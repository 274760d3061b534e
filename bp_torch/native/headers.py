"""What every printed file begins with: the C++ of products, of rows, of threads, and of what else is asked for."""

from functools import cache
from pathlib import Path

import torch

REAL = {torch.float32: "float", torch.float64: "double"}
HEADERS = "team.h", "products.h", "rows.h"


@cache
def text(dtype: torch.dtype, *more: str, place: str = "") -> str:
    """For matrices of this dtype. more: headers behind those of all. place: the type of a sparse matrix's indices."""
    types = [f"typedef {REAL[dtype]} real;", *([f"typedef {place} place;"] if place else [])]
    headers = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in (*HEADERS, *more)]
    return "\n".join([*types, *headers])
