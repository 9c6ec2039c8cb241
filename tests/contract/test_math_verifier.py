"""The verifier with its processes: what a parser decides, time, memory, threads, failures."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from srpo.rewards.math import MathVerifier
from srpo.rewards.math.answers import find_answer
from srpo.rewards.math.second_opinion import second_opinions
from srpo.types import Verdict
from tests.hostile_answers import hostile_pairs


@pytest.fixture(scope="module")
def verifier() -> Iterator[MathVerifier]:
    with MathVerifier(workers=1) as verifier:
        verifier.start()
        yield verifier


def boxed(answer: str) -> str:
    return rf"So \boxed{{{answer}}}."


SAME = [
    (r"\sqrt{2}", r"2^{1/2}"),
    (r"\sqrt{2}", "1.414214"),
    (r"\sqrt{3}", "3^{0.5}"),
    (r"\frac{\pi}{2}", "pi/2"),
    (r"\sqrt{\sqrt{2}}", "2**(1/4)"),
    (r"\frac{3\sqrt{5}}{7}", "(3*sqrt(5))/7"),
    (r"96-10\sqrt{21}", r"\frac{6\sqrt{1789-240\sqrt{21}}+8\sqrt{1236-240\sqrt{21}}}{5}"),
    (r"\sqrt{16}", "4"),
    ("x^2+2x+1", "(x+1)^2"),
    ("x^2+2x+1", "x^2 + 2*x - (-1)"),
    ("y = x^2+2x+1", "2x+ 1+x^2"),
    (r"\tan^2(y)+1", r"\sec^2(y)"),
    (r"1-\frac{1}{\mathrm{e}}", "1-1/e"),
    (r"\cos 60^\circ", r"\frac{1}{2}"),
    (r"\sqrt[3]{-8}", "-2"),
    ("ab", "ba"),
    ("1+i", "i+1"),
    (r"e^{i\pi}", "-1"),
    (r"\frac{1}{i}", "-i"),
    (r"2\sqrt{3}\text{ m}", r"200\sqrt{3}\text{ cm}"),
    (r"\{1, \sqrt{4}\}", "2, 1"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"),
    (r"x_1 = \frac{1}{2}+\frac{31\sqrt{5}}{216}", r"\frac{108 + 31\sqrt{5}}{216}"),
    (r"[1,3]", r"[1,2]\cup[2,3]"),
    ("x<1", "-x>-1"),
    (r"1\leq|z|\leq \frac{3}{2}", r"z \in [-\frac{3}{2},-1]\cup[1,\frac{3}{2}]"),
    ("2x+4y-3=0", r"y=-\frac{1}{2}x+\frac{3}{4}"),
    ("34x+45y-20z+100=0", "-34x-45y+20z-100=0"),
    (r"\begin{pmatrix}6 & 8\end{pmatrix}",
     r"\begin{pmatrix}1 & 2\end{pmatrix} + \begin{pmatrix}5 & 6\end{pmatrix}"),
    (r"\binom{2026}{1013}", r"\frac{2026!}{1013! \cdot 1013!}"),
    ("3^{2025}", "3 \\cdot 3^{2024}"),
    (r"\binom52", "10"),
    (r"\frac{d}{dx}x^2", "2x"),
    (r"\frac23m", r"\frac{2m}{3}"),
    ("y=2x", r"x=\frac{y}{2}"),
    ("f'(x)=2x", "x+x"),
    (r"\pi R^2", r"R^2\pi"),
    ("2^{1000}+1", "1+4^{500}"),
]  # fmt: skip

DIFFERENT = [
    (r"\sqrt{2}", "1.4142"),  # off by 1e-5; math-verify alone would round
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),  # math-verify rounds both to nothing
    ("x+2^{-99}", "x+2^{-98}"),
    ("2^{64}", "2^{64}+1"),
    ("3^{2025}", "2^{2025}"),
    ("x^2+2x+1", "(x-1)^2"),
    ("f(x)", "f(y)"),
    (r"\{1, \sqrt{2}\}", r"\{1, 1.41\}"),
    (r"[1,3]", r"[1,2)\cup(2,3]"),
    ("x<1", "-x>1"),
    ("5x - 7y + 11z + 4 = 0", "x + y - z + 2 = 0"),
    (r"2\sqrt{3}\text{ m}", r"2\sqrt{3}\text{ cm}"),
    ("3 m", "3"),  # a product, unless both have a unit
    ("x", "2x"),
    (r"1-\frac{1}{e}", r"1+\frac{1}{e}"),
    ("2x + z = 1", "x=1"),
    # capitals, letters after a number, primes
    (r"\frac{r}{R}", r"\frac{R}{r}"), ("a+b", "A+B"), (r"\pi R^2", r"\pi r^2"),
    ("y=Ax", "y=ax"), (r"\pi", r"\Pi"), (r"\delta", r"\Delta"), ("AB", "Ab"), ("CO", "Co"),
    ("3m", "3"), (r"\pi m", r"\pi"), ("2t", "2h"), ("y=2t", "y=2"), (r"\frac34h", r"\frac34"),
    ("x'", "x"), ("f'(x)", "f(x)"), ("f'(x)+f(y)", "f(x)+f'(y)"), ("A^T", "A"), ("5", "5'"),
    (r"30^\circ", "30'"),
    # large numbers, known places, what is worked out to zero, sets of numbers, choices
    ("2^{1000}", "2^{1000}+1"), ("10^{399}", "10^{399}+1"), ("2^{600}-1", "2^{600}+1"),
    (r"2^{1000}\sqrt2", r"2^{1000}\sqrt2+1"), ("x", "x+(5x-7)(7x+11)(3x-13)(11x+5)(17x-3)"),
    (r"\frac{dy}{dx}", r"\frac{dx}{dy}"), (r"n\in\mathbb Z", r"n\in\mathbb N"),
    ("B", "(B)(C)"), ("B", "(B) and (C)"), ("A", r"\text{(A) or (B)}"), ("A", "(A)(B)(C)(D)"),
    ("A", "A) B) C)"),
    # text after a number that is no unit
    *(("5", rf"5\text{{ {word}}}") for word in (
        "is wrong", "or more", "squared", "cubed", "factorial", "halves", "tenths", "th")),
]  # fmt: skip


def test_a_parser_compares_the_rest(verifier: MathVerifier) -> None:
    pairs = [(gold, boxed(answer)) for gold, answer in SAME]
    assert [pair for pair, (verdict, _) in zip(pairs, verifier.check(pairs), strict=True)
            if verdict is not Verdict.CORRECT] == []  # fmt: skip
    pairs = [(gold, boxed(answer)) for gold, answer in DIFFERENT]
    assert [pair for pair, (verdict, _) in zip(pairs, verifier.check(pairs), strict=True)
            if verdict is not Verdict.WRONG] == []  # fmt: skip


def test_exchanging_gold_and_answer_changes_nothing(verifier: MathVerifier) -> None:
    for rows in (SAME[:12], DIFFERENT[:8]):
        there = verifier.check([(gold, boxed(answer)) for gold, answer in rows])
        back = verifier.check([(answer, boxed(gold)) for gold, answer in rows])
        assert [verdict for verdict, _ in there] == [verdict for verdict, _ in back]


def test_no_verdict_depends_on_those_before_it(verifier: MathVerifier) -> None:
    pairs = [(gold, boxed(answer)) for gold, answer in SAME[:8] + DIFFERENT[:6]]
    alone = {pair: verifier.check_one(*pair) for pair in pairs}
    for seed in range(2):
        random.Random(seed).shuffle(pairs)
        assert verifier.check(pairs) == [alone[pair] for pair in pairs]


def test_equal_pairs_get_equal_findings_in_order(verifier: MathVerifier) -> None:
    pairs = [("4", "4"), ("4", "5"), (None, "4"), ("4", "4"), ("4", "none")]
    assert [verdict for verdict, _ in verifier.check(pairs)] == [
        Verdict.CORRECT, Verdict.WRONG, Verdict.UNGRADABLE, Verdict.CORRECT, Verdict.NO_ANSWER,
    ]  # fmt: skip
    assert verifier.check([]) == []


def test_gold_answers_that_only_the_same_text_equals(verifier: MathVerifier) -> None:
    golds = [r"\lambda", r"\mathbb{R}^2", r"\|v\|", "(1011)_2",
             r"f(x)=\begin{cases}x&x>0\\0&x\le0\end{cases}"]  # fmt: skip
    assert verifier.check_gold(golds) == {}
    assert {verifier.check_one(gold, boxed(gold))[0] for gold in golds} == {Verdict.CORRECT}
    assert {verifier.check_one(gold, boxed("17"))[0] for gold in golds} == {Verdict.WRONG}


def test_several_boxes(verifier: MathVerifier) -> None:
    both = r"\boxed{1} and \boxed{2}"
    assert verifier.check_one("1,2", both)[0] is Verdict.CORRECT
    assert verifier.check_one("2", both)[0] is Verdict.CORRECT  # the last box counts
    assert verifier.check_one("1", both)[0] is Verdict.WRONG
    assert verifier.check_one("1,2,3", both)[0] is Verdict.WRONG


def test_words_without_a_box_count_only_if_they_are_the_gold_answer(verifier: MathVerifier) -> None:
    assert verifier.check_one(r"\text{east}", "East")[0] is Verdict.CORRECT
    assert verifier.check_one("odd $n$", "odd $n$")[0] is Verdict.CORRECT
    assert verifier.check_one(r"\text{east}", "West")[0] is Verdict.NO_ANSWER


def test_stated_answers_count_if_they_are_asked_for() -> None:
    text = "First we add them. The answer is 42."
    with MathVerifier(workers=1) as strict, MathVerifier(workers=1, stated=True) as lenient:
        assert strict.check_one("42", text)[0] is Verdict.NO_ANSWER
        assert lenient.check_one("42", text)[0] is Verdict.CORRECT
        assert lenient.check_one("4", "4 is the answer, or 5, or 6")[0] is not Verdict.CORRECT


def test_what_takes_too_long_ends_in_time_with_its_worker() -> None:
    endless = r"\int \frac{1}{x^{99}+1} dx"  # not done in 20 s
    with MathVerifier(1.0, workers=1) as verifier:
        verifier.start()
        (server,) = verifier._servers.pids()
        assert children_of(server)
        for _ in range(2):
            workers = children_of(server)
            start_s = time.monotonic()
            found = verifier.check_one("x^2+1", boxed(endless))
            assert found == (Verdict.TIMED_OUT, "comparing took too long or too much memory")
            assert time.monotonic() - start_s < 20.0  # 1.02 if the machine is idle
            assert not set(workers) & set(children_of(server))
            assert verifier.check_one(r"\sqrt{8}", boxed(r"2\sqrt{2}"))[0] is Verdict.CORRECT
        assert verifier._servers.pids() == [server]


def test_hostile_answers_are_read_or_refused_at_once() -> None:
    verifier, slowest_s = MathVerifier(), 0.0  # its processes are not started here
    for gold, text in hostile_pairs(seed=3, number=600):
        start_s = time.thread_time()
        verifier._decide(gold, text)
        slowest_s = max(slowest_s, time.thread_time() - start_s)
    assert slowest_s < 1.0  # measured: 0.13 s for nine million characters


def test_hostile_answers_from_a_thread_end_in_time_and_memory() -> None:
    slowest_s, most_work_s, verdicts = 0.0, 0.0, set()
    with MathVerifier(0.2, workers=1) as verifier:
        verifier.start()

        def run() -> None:
            nonlocal slowest_s, most_work_s
            for gold, text in hostile_pairs(seed=5, number=200):
                start_s, worked_s = time.monotonic(), time.thread_time()
                verdicts.add(verifier.check_one(gold, text)[0])
                slowest_s = max(slowest_s, time.monotonic() - start_s)
                most_work_s = max(most_work_s, time.thread_time() - worked_s)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(100)
        assert not thread.is_alive()
        server_kib = [
            int(line.split()[1])
            for pid in verifier._servers.pids()
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmHWM")
        ]
    assert slowest_s < 20.0  # 0.25 if the machine is idle
    assert most_work_s < 2.0  # 0.2 of our own processor time, before a server is asked
    assert Verdict.INFRA_ERROR not in verdicts
    assert max(server_kib) < 400 << 10


def test_several_threads_at_once(verifier: MathVerifier) -> None:
    wrong: list[int] = []

    def run(i: int) -> None:
        same = verifier.check_one(rf"\sqrt{{{i}}}", boxed(f"{i}^{{1/2}}"))
        other = verifier.check_one(rf"\sqrt{{{i}}}", boxed(f"{i + 1}^{{1/2}}"))
        if (same[0], other[0]) != (Verdict.CORRECT, Verdict.WRONG):
            wrong.append(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_servers_side_by_side_answer_in_order() -> None:
    with MathVerifier(workers=2) as verifier:
        verifier.start()
        pairs = [(rf"\sqrt{{{i}}}", boxed(f"{i + i % 2}^{{1/2}}")) for i in range(2, 12)]
        wanted = [Verdict.WRONG if i % 2 else Verdict.CORRECT for i in range(2, 12)]
        assert [verdict for verdict, _ in verifier.check(pairs)] == wanted
        assert len(verifier._servers.pids()) == 2


def test_a_dead_server_is_replaced_and_twice_dead_is_an_infra_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = (r"\sqrt{2}", boxed(r"2^{1/2}"))
    with MathVerifier(workers=1) as verifier:
        verifier.start()
        (pid,) = verifier._servers.pids()
        os.kill(pid, signal.SIGKILL)
        assert verifier.check_one(*pair)[0] is Verdict.CORRECT
        monkeypatch.setattr("srpo.rewards.servers._COMMAND", ["/bin/false"])
        (pid,) = verifier._servers.pids()
        os.kill(pid, signal.SIGKILL)
        verdict, note = verifier.check_one(*pair)
        assert verdict is Verdict.INFRA_ERROR and "math server" in note
        assert verifier.check_one("4", "4")[0] is Verdict.CORRECT  # takes no server


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_nothing_stays_behind() -> None:
    verifier = MathVerifier(workers=1)
    try:
        server, worker = _use_for_a_while(verifier)
    finally:
        verifier.close()
    deadline_s = time.monotonic() + 10
    alive = {server, worker}
    while alive and time.monotonic() < deadline_s:
        for pid in list(alive):
            with contextlib.suppress(FileNotFoundError):
                if ") Z" not in Path(f"/proc/{pid}/stat").read_text():
                    continue
            alive.discard(pid)
        time.sleep(0.01)
    assert not alive


def _use_for_a_while(verifier: MathVerifier) -> tuple[int, int]:
    verifier.start()
    (server,) = verifier._servers.pids()
    (worker,) = children_of(server)
    os.kill(worker, signal.SIGKILL)  # a worker that dies is replaced as well
    assert verifier.check_one(r"\sqrt{8}", boxed(r"2\sqrt{2}"))[0] is Verdict.CORRECT
    (worker,) = children_of(server)
    num_fds = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        verifier.check_one(r"\sqrt{8}", boxed(r"\sqrt{9}+x"))
    assert len(list(Path("/proc/self/fd").iterdir())) == num_fds
    return server, worker


def test_gold_answers_that_nothing_can_be_checked_against_are_named(verifier: MathVerifier) -> None:
    good = ["4", r"\sqrt{2}", "x^2+1", r"\text{yes}", "odd $n$", "(1,2]", r"\boxed{7}", "5 km",
            r"\{1\} \cup [2,3]", "f(x)=2x", r"\binom{n}{2}", "B", "3:30", "204_5"]  # fmt: skip
    bad = ["", "@@", r"\frac{1}{", r"\frac{1}{0}", "9^{9^{9^{9}}}", "(1,2", r"\sqrt{", "2 + ",
           r"\frac{}{}", "x^", "= ="]  # fmt: skip
    found = verifier.check_gold([*good, *bad, *bad])
    assert sorted(found) == sorted(bad)
    assert all(reason.startswith(("the gold", "there is no gold")) for reason in found.values())


def test_checking_gold_answers_stops_in_time(verifier: MathVerifier) -> None:
    many = [rf"\sqrt{{{i}}}+x" for i in range(2, 4000)]
    start_s = time.monotonic()
    assert verifier.check_gold(many, limit_s=0.5) == {}
    assert time.monotonic() - start_s < 5.0


def test_a_second_opinion_gives_both_reasons(verifier: MathVerifier) -> None:
    texts = [("4", boxed("4")), (r"\frac{1}{2^{99}}", boxed(r"\frac{1}{2^{98}}")), ("4", "no idea")]
    rows = [
        (str(i), gold, text, *verifier.check_one(gold, text))
        for i, (gold, text) in enumerate(texts)
    ]
    opinions = second_opinions(verifier, rows)
    assert [opinion.id for opinion in opinions] == ["0", "1", "2"]
    assert [opinion.disagrees for opinion in opinions] == [False, True, False]
    assert opinions[1].verdict is Verdict.WRONG and opinions[1].other is Verdict.CORRECT
    assert opinions[1].other_reason and opinions[1].answer == find_answer(texts[1][1])


def test_comparing_needs_neither_sympy_nor_torch() -> None:
    program = (
        "import sys; from srpo.rewards.math import MathVerifier\n"
        "v = MathVerifier(); assert v.check_one('1/2', r'\\boxed{0.5}')[0] == 'correct'\n"
        "assert not {'sympy', 'torch', 'math_verify'} & set(sys.modules), 'loaded'"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == 0
