"""Units of text for training the tokenizer, and counts that make BPE learn LaTeX commands as single tokens.

BPE learns the most frequent pair first and applies its merges in the order in which it learnt them. A listed
command has to become one token wherever it stands, and no token may cross its border. Therefore the counts
form tiers:

1. control words (`\\alpha`), above everything else, so that all of their merges come first;
2. `{env}` of listed environments, above tier 3, so that `\\begin` and `{env}` are joined by one last merge;
   otherwise a piece `\\begin{` would take the brace of environments that are not listed;
3. `\\begin{env}` and `\\end{env}`, at least as frequent as a unit that is certain to be learnt;
4. all other text, as often as it occurs.

Only the order of the tiers matters, not their distance. (It is not enough to multiply the counts of commands
by a factor: `m}` from other text may still be learnt before `\\pm`, and then crosses its border.)
"""

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from preprocess.latex.plain_text import split_prose, strip_commands

# A unit is `\begin{env}`, `\word`, `\symbol` or a word, each with at most one leading space, or a run of
# spaces. BPE never merges across units. Newlines and tabs are user-defined symbols.
_CUT_AT_COMMANDS = re.compile(r" ?\\(?:(?:begin|end)\{[A-Za-z]+\*?\}|[A-Za-z]+|[^A-Za-z\s])| ?[^\s\\]+| +|\\")
_CUT_AT_BLANKS = re.compile(r" ?\S+| +")  # SentencePiece's own rule
_COMMAND = re.compile(r" ?(\\(?:(?:begin|end)\{[A-Za-z]+\*?\}|[A-Za-z]+))")
_ENVIRONMENT = re.compile(r"( ?\\(?:begin|end))(\{.+\})")


def prose_of(text: str) -> str:
    """A document without its mathematics and commands."""
    return strip_commands(split_prose(text)[0])


def count_units(text: str, cut_at_commands: bool) -> Counter[str]:
    """How often each unit occurs in a document; without `cut_at_commands` only blanks separate units."""
    return Counter((_CUT_AT_COMMANDS if cut_at_commands else _CUT_AT_BLANKS).findall(text))


def commands_among(units: Iterable[str]) -> set[str]:
    """The units that are commands, `\\begin{env}` or `\\end{env}`, without their leading space."""
    return {match[1] for unit in units if (match := _COMMAND.fullmatch(unit))}


def list_commands(papers: Counter[str], min_papers: int, most: int, max_length: int) -> list[str]:
    """The commands to list: at most `most`, used by the most papers, in the order of that number.

    `papers`: number of papers with each command. Leaves out commands in fewer than `min_papers` papers or
    longer than `max_length` characters.
    """
    ranked = sorted(papers.items(), key=lambda item: (-item[1], item[0]))
    return [command for command, n in ranked if n >= min_papers and len(command) <= max_length][:most]


def alphabet(counts: Counter[str], coverage: float) -> str:
    """The most frequent characters that together cover the share `coverage` of the text.

    The tokenizer spells all other characters in bytes.
    """
    characters: Counter[str] = Counter()
    for unit, n in counts.items():
        for character in unit:
            characters[character] += n
    del characters[" "]  # SentencePiece's own U+2581
    room = coverage * characters.total()
    chosen = []
    for character, n in sorted(characters.items(), key=lambda item: (-item[1], item[0])):
        if room <= 0:
            break
        chosen.append(character)
        room -= n
    return "".join(chosen)


def tier_counts(counts: Counter[str], commands: Sequence[str], certain_rank: int) -> Counter[str]:
    """The counts raised to the tiers above.

    `certain_rank`: a unit among this many most frequent ones is certain to be learnt.
    """
    listed = set(commands)
    tiers: Counter[str] = Counter()
    for unit, n in counts.items():
        match = _ENVIRONMENT.fullmatch(unit)
        if match and unit.lstrip(" ") not in listed:
            tiers[match[1]] += n
            tiers[match[2]] += n
        else:
            tiers[unit] += n
    certain = min(heapq.nlargest(certain_rank, counts.values()), default=0)
    environments = {command: match[2] for command in commands if (match := _ENVIRONMENT.fullmatch(command))}
    for command in environments:  # raise both forms, with and without a leading space, so both are learnt
        tiers[command] = tiers[" " + command] = max(certain, counts[command] + counts[" " + command])
    with_brace = sum(tiers[command] + tiers[" " + command] for command in environments)
    names = set(environments.values())
    for name in names:
        tiers[name] += with_brace
    # An upper bound on how often a pair of characters occurs below tier 1.
    highest = sum(n * len(unit) for unit, n in counts.items()) + 2 * (len(names) + 1) * with_brace
    words = listed - environments.keys() | ({"\\begin", "\\end"} if environments else set())
    for word in words:
        n = counts[word] + counts[" " + word]
        tiers[word] = tiers[" " + word] = highest + n
    return tiers
