"""Which srpo this is, and which files these are: digests, to tell whether something changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).parent
SUFFIXES = (".py", ".toml", ".json", ".safetensors")  # code, presets and the embedded model
LEFT_OUT = ("insight", "comparison", "planning")  # what only shows, compares or foretells runs
SAMPLE_BYTES = 1 << 20
WHOLE_BYTES = 256 << 20
DIGITS = 16


def code_digests(package: Path = PACKAGE) -> dict[str, str]:
    """The files that training depends on, and a digest of each, in order of their names."""
    paths = (path for path in sorted(package.rglob("*")) if path.suffix in SUFFIXES)
    names = {path: path.relative_to(package) for path in paths}
    return {
        name.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS]
        for path, name in names.items()
        if name.parts[0] not in LEFT_OUT
    }


def fingerprint(package: Path = PACKAGE) -> str:
    """One digest of all of `code_digests`, 64 hex digits."""
    lines = (f"{name} {digest}\n" for name, digest in code_digests(package).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_digests(paths: Iterable[Path]) -> dict[str, str]:
    """A digest of each file; of one beyond 256 MiB, of its size and a mebibyte in each 16.

    Weights may be many gigabytes, and no change that training makes leaves a mebibyte as it was.
    """
    found = {}
    for path in sorted(paths):
        size = path.stat().st_size
        stride = SAMPLE_BYTES if size <= WHOLE_BYTES else 16 * SAMPLE_BYTES
        digest = hashlib.sha256(f"{size}\n".encode())
        with path.open("rb") as file:
            for start in range(0, size, stride):
                file.seek(start)
                digest.update(file.read(SAMPLE_BYTES))
        found[path.name] = digest.hexdigest()[:DIGITS]
    return found
