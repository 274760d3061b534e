"""Private random numbers: nothing is drawn from torch's global generator, and each use has a key of its own."""

import hashlib

import torch


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator that depends on the whole key: ("shuffle", seed, epoch), say.

    torch's CPU generator keeps 32 bits of its seed, so the key is hashed rather than packed into an integer.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
