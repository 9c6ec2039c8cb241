"""The section `[verifier]` of the config: how answers are checked, and how programs are held."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from srpo.config.base import NotNegative, Positive, Section

LONGEST_TIMEOUT_S = 86_400.0  # of one test, or of one program: a day
Strength = Literal["auto", "namespaces", "namespaces-per-program", "landlock", "seccomp"]


class VerifierConfig(Section):
    """How answers are checked: limits on programs and comparisons, and their isolation."""

    code_timeout_s: float = Field(
        2.0, gt=0, le=LONGEST_TIMEOUT_S, description="wall time of a program on one test case"
    )
    code_program_timeout_s: float = Field(
        20.0,
        gt=0,
        le=LONGEST_TIMEOUT_S,
        description="wall time of a program on all its test cases together",
    )
    code_memory_mib: int = Field(512, ge=64, description="memory of a program")
    code_output_kib: Positive = Field(1024, description="output of a program on one test case")
    code_workers: NotNegative = Field(0, description="programs run side by side; 0: one per core")
    code_run_all: bool = Field(False, description="run the cases after the first failure as well")
    strength: Strength = Field(
        "auto", description="isolation of programs; auto: the strongest this machine allows"
    )
    allow_unsafe: bool = Field(
        False, description="run programs where no isolation is possible, instead of stopping"
    )
    fence: Literal["", "bubblewrap"] = Field("", description="a second fence round the sandbox")
    remote_url: str = Field("", description="a SandboxFusion service that runs programs instead")
    math_timeout_s: float = Field(
        2.0, gt=0, le=LONGEST_TIMEOUT_S, description="time to compare two math answers"
    )
    second_opinion_share: float = Field(
        0.02, ge=0, le=1, description="share of math answers that another grader checks as well"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.code_program_timeout_s < self.code_timeout_s:
            raise ValueError(
                f"code_program_timeout_s is {self.code_program_timeout_s}, less than "
                f"code_timeout_s, {self.code_timeout_s}"
            )
        if self.remote_url and (self.fence or self.strength != "auto" or self.allow_unsafe):
            raise ValueError(
                "remote_url: the service isolates programs its own way; take out strength, fence "
                "and allow_unsafe"
            )
        if self.remote_url and not self.remote_url.startswith(("http://", "https://")):
            raise ValueError(f"remote_url must begin with http:// or https://: {self.remote_url}")
        return self
