"""Which block of a completion is the program, in how much time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srpo.rewards.code.text import bare_program, extract_program
from tests.growth import assert_linear


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        # what is marked as Python
        ("```Python3\na\n```", "a\n"),
        ("```python title=x\na\n```", "a\n"),
        ("``` py\na\n```", "a\n"),
        ("```{python}\na\n```", "a\n"),
        ("```{.python .numberLines}\na\n```", "a\n"),
        ("```python3.11\na\n```", "a\n"),
        ("```pyramid\na\n```", None),
        ("```python-repl\n>>> a\n```", None),
        ("```c++\na\n```", None),
        # marked before unmarked: what follows a program is often its output
        ("```python\na\n```\nprints\n```\n3\n```", "a\n"),
        ("```\na\n```\n```\nb\n```", "b\n"),
        ("```python\na\n```\n```python\n \n```", "a\n"),  # a blank block is none
        # other fences
        ("~~~python\na\n~~~", "a\n"),
        ("~~~\na\n```\n~~~", "a\n```\n"),
        ("````python\na = '```'\n```\nb\n````", "a = '```'\n```\nb\n"),
        ("```python\na\n`````", "a\n"),  # a closing fence may be longer
        ("```python\na\n```  \t\nb", "a\n"),
        ("```python\na\n``` b\n```", None),  # a line that opens another block, not Python
        ("```python print(1)```", None),  # code within a line
        # a block that was not closed before another began
        ("```python\na\n```python\nb\n```", "b\n"),
        ("```text\na\n```python\nb\n```", "b\n"),
        ("```python\na\n```\n```python\nb", "a\n"),  # the last one was cut off
        # in lists
        ("1. So:\n   ```python\n   if a:\n       b\n   ```", "if a:\n    b\n"),
        ("- ```python\n  a\n  ```", "a\n"),
        ("\t```python\n\ta\n\t```", "a\n"),
        ("   ```python\na\n   ```", "a\n"),  # not indented with its fence: left as it is
        # line ends
        ("```python\r\na\r\nb\r\n```\r\n", "a\r\nb\r\n"),
        ("```python\ra\r```\r", "a\r"),
        ("```python\na = 'x\x0cy'\n```", "a = 'x\x0cy'\n"),
        # fences inside strings
        ('```python\ns = """\n```\nb\n```\n"""\nc\n```', 's = """\n```\nb\n```\n"""\nc\n'),
        ("```python\n# don't\na = '\"\"\"'\n```\nend", "# don't\na = '\"\"\"'\n"),
        ('```python\ns = """a\n```\nend', 's = """a\n'),  # a string that is never closed
        ("```python\ns = '''\\'''\n```\n'''\n```", "s = '''\\'''\n```\n'''\n"),
        # nothing at all
        ("```\n```", None),
        ("```python", None),
        ("`" * 7, None),
    ],
)
def test_the_last_closed_block_of_python_is_the_program(answer: str, program: str | None) -> None:
    assert extract_program(answer) == program


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("def f(): return 1", True),
        ("    return a + b\n", True),
        ('def f():\n    """\n    ```python\n    f()\n    ```\n    """\n', True),
        ("# ``` in a comment", True),
        ("```python\na\n```", False),
        ("Here:\n```python\na", False),  # a fence that is not closed: cut off, no program
        (" \n ", False),
        ("", False),
    ],
)
def test_a_text_without_a_fence_may_be_a_program(text: str, bare: bool) -> None:
    assert bare_program(text) == (text if bare else None)


@given(st.text(alphabet="`~\n \r'\"py#\\-1.", max_size=60))
def test_every_text_has_a_program_or_none(text: str) -> None:
    program = extract_program(text)
    assert program is None or program.strip()


@given(st.text(alphabet="ab \n", min_size=1, max_size=30))
def test_a_fenced_program_is_found_as_it_was(program: str) -> None:
    fenced = f"So:\n````python\n{program}\n````\nDone."
    assert extract_program(fenced) == (f"{program}\n" if program.strip() else None)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda n: "`" * n, 100_000),
        (lambda n: "```\n" * n, 12_000),
        (lambda n: "```python\n'''\n```\n" * n, 12_000),
        (lambda n: "```python\n" * n, 12_000),
        (lambda n: "~~~python\n```\n" * n, 10_000),
        (lambda n: "```python\n" + "'" * (n + 1) + "\n```", 100_000),
        (lambda n: "```python\n" + "\\" * n + "\n```", 100_000),
        (lambda n: " " * n + "```", 100_000),
        (lambda n: "1" * n + "\n```", 100_000),
        (lambda n: "\n" * n + "```", 50_000),
    ],
    ids=range(10),
)
def test_long_texts_take_linear_time(make: Callable[[int], str], size: int) -> None:
    assert_linear(lambda text: (extract_program(text), bare_program(text)), make, size)
