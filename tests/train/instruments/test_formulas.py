r"""Which bytes and tokens are formulas. In the cases « and » enclose what is expected to be one."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from preprocess.latex.plain_text import split_prose
from tests.support.latex_tokens import latex_text
from tests.support.training import write_tokenizer
from train.instruments.formulas import formula_bytes, formula_tokens, piece_bytes

CASES = {
    "inline": r"let «$x$» be",
    "two that touch": r"«$x$»«$y$»",
    "displayed by dollars": r"so «$$x$$» holds",
    "brackets": r"so «\[x\]» and «\(y\)»",
    "environment": r"a «\begin{equation}x\end{equation}» b",
    "starred": r"a «\begin{align*}x &= y \\[2pt] z\end{align*}» b",
    "another environment": r"\begin{proof}x\end{proof}",
    "escaped dollar": r"costs \$5 and \$6",
    "escaped dollar in a formula": r"«$\$5$» a",
    "line break before a bracket": r"a \\[2pt] b",
    "line break before a dollar": r"a \\«$x$»",
    "environment in brackets": r"«\[\begin{array}{c}x\end{array}\]» b",
    "text in a formula": r"«\[x \text{ if $y$} z\]» b",
    "another environment's end": r"«\begin{align}x\end{equation}y\end{align}» b",
    "closing bracket alone": r"a \] b",
    "unclosed dollar ends with its paragraph": "costs «$5 or more»\n\nand «$x$» b",
    "unclosed environment ends with its paragraph": "«\\begin{equation}x»\n \nprose",
    "unclosed to the end": r"a «$x",
    "dollars between dollars": r"«$a$»«$b$» c",
    "accents": r"café «$é$» naïve",
    "empty": "",
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_formula_bytes(case: str) -> None:
    text = case.replace("«", "").replace("»", "").encode()
    expected, inside = [], False
    for character in case:
        if character in "«»":
            inside = character == "«"
        else:
            expected += [inside] * len(character.encode())
    assert formula_bytes(text).tolist() == expected


@pytest.mark.parametrize("seed", range(3))
def test_the_share_is_that_of_the_corpus(seed: int) -> None:
    # `math_share` in the index comes from preprocessing, which has its own, faster way to count.
    text = latex_text(np.random.default_rng(seed), 200)
    assert formula_bytes(text.encode()).sum() == split_prose(text)[1]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_file(str(write_tokenizer(tmp_path_factory.mktemp("data")) / "tokenizer.json"))


def test_pieces_are_the_text(tokenizer: Tokenizer) -> None:
    pieces = piece_bytes(tokenizer)
    for text in ("café $\\alpha$ axm bym\n\tλ", latex_text(np.random.default_rng(0), 50)):
        assert b"".join(pieces[token] for token in tokenizer.encode(text).ids) == text.encode()


def test_a_token_is_what_most_of_it_is() -> None:
    pieces = [b" $", b"x", b"$", b"$ is", b"  ", b" so", b"$.", b""]
    found = formula_tokens([5, 0, 1, 4, 3, 4, 0, 1, 6, 7], pieces)
    #      so    ` $`  x    blanks `$ is`: 1 of 3 bytes   blanks
    assert found[:6].tolist() == [False, True, True, True, False, False]
    assert found[6:].tolist() == [True, True, True, False]  # `$.`: half of it; a piece without text


def test_tokens_of_a_text_are_its_formulas(tokenizer: Tokenizer) -> None:
    text = " axm bym $\\alpha$ czn \\$ dxm \\[ axm \\] end"
    ids = tokenizer.encode(text).ids
    pieces = piece_bytes(tokenizer)
    found = formula_tokens(ids, pieces)
    joined = b"".join(pieces[token] for token, formula in zip(ids, found, strict=True) if formula)
    assert joined.decode().replace(" ", "") == "$\\alpha$\\[axm\\]"
