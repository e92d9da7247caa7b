"""Prose is separated from mathematics, words are found, slides are measured."""

import pytest

from preprocess.latex.plain_text import find_words, letters_of, slide_share, split_prose, strip_commands


@pytest.mark.parametrize(
    ("text", "prose", "math"),
    [
        ("a $x$ b", "a   b", "$x$"),
        (r"a \(x\) b \[y\] c", "a   b   c", r"\(x\)\[y\]"),
        (r"a \$5 b", "a   5 b", ""),
        (r"a \\[2pt] b $x$ c", "a   [2pt] b   c", "$x$"),
        (r"a \\$x$ b", "a     b", "$x$"),
        (r"a \begin{align*}x\\&y\end{align*} b", "a   b", r"\begin{align*}x\\&y\end{align*}"),
        (r"a \begin{align}x\end{aligned}y\end{align} b", "a   b", r"\begin{align}x\end{aligned}y\end{align}"),
        (r"a \begin{proof}b $x$\end{proof}", r"a \begin{proof}b  \end{proof}", "$x$"),
        ("a $$x$$ b", "a   b", "$$x$$"),
        ("a $x$$y$ b", "a    b", "$x$$y$"),
        ("cost 5$ a\n\nb $x$ c", "cost 5 \n\nb   c", "$ a$x$"),
        ("a $x", "a  ", "$x"),
        (r"\begin{equation}x", " ", r"\begin{equation}x"),
    ],
    ids=[
        *("dollar", "round", "escaped", "newline", "newline-dollar", "environment", "similar-name", "proof"),
        *("display", "adjacent", "stray", "open", "open-environment"),
    ],
)
def test_prose_and_mathematics_are_separated(text: str, prose: str, math: str) -> None:
    assert split_prose(text) == (prose, len(math))


def test_commands_are_stripped_and_arguments_stay() -> None:
    stripped = strip_commands(r"\section{A title} \emph{b}~c \'e\% d")
    assert stripped.split() == ["A", "title", "b", "c", "e", "d"]


def test_words_are_runs_of_two_letters_or_more() -> None:
    letters = letters_of("a “Café” of 17 naïve x-rays — 中文".encode())
    found = [letters[s : s + n].decode() for s, n in zip(*find_words(letters), strict=True)]
    assert found == ["Café", "of", "naïve", "rays", "中文"]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        (r"\begin{frame}{T}12345678901234567890\end{frame}", 0.78),
        (r"\begin{slide}12345678901234567890\end{slide}", 0.75),
        (r"\frame{\frametitle{A} 1234567890}\frame<2>{ \frametitle{B} 1234567890}", 1),
        (r"A paper with \frame{x} \begin{frame}{T}1234567890\end{frame}", 0.43),
        (r"We draw \frame{x} and explain \verb|\begin{frame}| in a paper on presentations.", 0),
        ("A paper.", 0),
        ("", 0),
    ],
    ids=["beamer", "seminar", "older-beamer", "one-slide", "mention", "none", "empty"],
)
def test_share_of_the_text_on_slides(text: str, share: float) -> None:
    assert slide_share(text) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(
    "piece",
    [r"\begin{equation}x", r"\[x", r"\(", "$", "$$x", r"\begin{frame}", r"\begin{align}\end{aling}", "\\"],
)
def test_unclosed_formulas_and_frames_are_read_to_the_end(piece: str) -> None:
    # Quadratic work on 200,000 pieces would take many minutes.
    text = piece * 200_000
    prose, n_math = split_prose(text)
    assert len(strip_commands(prose)) + n_math <= 2 * len(text)
    assert 0 <= slide_share(text) <= 1
