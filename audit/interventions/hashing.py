"""Choices that depend on names alone: the same for every order, shard and machine."""

from __future__ import annotations

import hashlib


def hashed(text: str) -> int:
    """A number below 2^64 that is as good as drawn for each text (the first bits of its SHA-256).

    >>> hashed("a") == hashed("a") != hashed("b")
    True
    """
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
