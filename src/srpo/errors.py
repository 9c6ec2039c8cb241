"""Every error a user can meet.

    SrpoError                     one clear line, exit code 2, no traceback
      ConfigError                 a setting is unknown, wrong or contradicts another
      ProblemFileError            a problem file or a row of it cannot be used
      ModelError                  a model or tokenizer cannot be loaded or used
      RunDirectoryError           a run directory exists, is missing or is damaged
      SandboxError                the sandbox could not be started
      JudgeFileError              a file of rows to judge, or of verdicts, cannot be used
      FaultError                    a run had to stop: disk, numbers or a process; exit code 1
    InfraError                    a check could not be made; becomes the verdict `infra_error`

Messages name the file, row or setting, say what is wrong, and what to do about it.
"""


def first_line(error: Exception) -> str:
    """The first line of another library's error, without its trace.

    >>> first_line(ValueError("no such file\\nat line 3"))
    'no such file'
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class SrpoError(Exception):
    """Base of all errors that end a command with one line and exit code 2 (a fault: 1)."""

    exit_code = 2


class ConfigError(SrpoError):
    """A setting is unknown, has a wrong value, or contradicts another setting."""


class ProblemFileError(SrpoError):
    """A problem file is missing or empty, or one of its rows cannot be used."""


class ModelError(SrpoError):
    """A model or its tokenizer is missing, incomplete or unfit for training."""


class RunDirectoryError(SrpoError):
    """A run directory already exists, does not exist, or cannot be read or written."""


class SandboxError(SrpoError):
    """The sandbox that runs untrusted programs could not be started."""


class JudgeFileError(SrpoError):
    """A file of rows to judge cannot be read, or a file of verdicts cannot be written."""


class FaultError(SrpoError):
    """A run that was well begun had to stop; what it had recorded is not lost."""

    exit_code = 1


class InfraError(Exception):
    """A check could not be made (a process died, not the program's fault).

    Never reaches the user as a failure of the run: the verifier that meets it returns
    `Verdict.INFRA_ERROR`, which is counted under its own name and never as a wrong answer.
    """
