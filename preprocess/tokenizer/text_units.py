"""What the tokenizer is trained on: units of text and how often they count, so that commands become tokens.

BPE learns the most frequent pair first and encodes in the order in which it learnt. So that a listed command
is one token wherever it stands and no token ever crosses its border, counts are laid in tiers:

1. control words (`\\alpha`), above everything: all of their merges come first;
2. `{env}` of listed environments, above tier 3: `\\begin` and `{env}` then meet in one last merge, and there
   is no piece `\\begin{` that would take the brace of an environment that is not listed;
3. `\\begin{env}` and `\\end{env}`, at least as often as a unit that is certainly learnt;
4. all other text, as often as it occurs.

Only the order counts, not how far apart the tiers are. (A plain factor on the counts of commands leaves some
of them crossed: `m}` from other text is then learnt before `\\pm`.)
"""

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from preprocess.latex.plain_text import split_prose, strip_commands

# `\begin{env}`, `\word`, `\symbol`, a word, each with one leading space; white space by itself. What is cut
# apart here is never merged. Newlines and tabs are symbols of their own.
_CUT_AT_COMMANDS = re.compile(r" ?\\(?:(?:begin|end)\{[A-Za-z]+\*?\}|[A-Za-z]+|[^A-Za-z\s])| ?[^\s\\]+| +|\\")
_CUT_AT_BLANKS = re.compile(r" ?\S+| +")  # as SentencePiece does by itself
_COMMAND = re.compile(r" ?(\\(?:(?:begin|end)\{[A-Za-z]+\*?\}|[A-Za-z]+))")
_ENVIRONMENT = re.compile(r"( ?\\(?:begin|end))(\{.+\})")


def prose_of(text: str) -> str:
    """A document without its mathematics and commands."""
    return strip_commands(split_prose(text)[0])


def count_units(text: str, cut_at_commands: bool) -> Counter[str]:
    """Occurrences of each unit of a document."""
    return Counter((_CUT_AT_COMMANDS if cut_at_commands else _CUT_AT_BLANKS).findall(text))


def commands_among(units: Iterable[str]) -> set[str]:
    """The commands, `\\begin{env}` and `\\end{env}` among units, without their leading space."""
    return {match[1] for unit in units if (match := _COMMAND.fullmatch(unit))}


def list_commands(papers: Counter[str], min_papers: int, most: int, max_length: int) -> list[str]:
    """The corpus's own commands, those of most papers first, without any longer than `max_length`."""
    ranked = sorted(papers.items(), key=lambda item: (-item[1], item[0]))
    return [command for command, n in ranked if n >= min_papers and len(command) <= max_length][:most]


def alphabet(counts: Counter[str], coverage: float) -> str:
    """The most frequent characters, until they make up `coverage` of the text; the others become bytes."""
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
    """Counts in the tiers above. A unit among the first `certain_rank` is taken for certainly learnt."""
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
    for command in environments:  # both forms, so that both are learnt: bare and after a blank
        tiers[command] = tiers[" " + command] = max(certain, counts[command] + counts[" " + command])
    with_brace = sum(tiers[command] + tiers[" " + command] for command in environments)
    names = set(environments.values())
    for name in names:
        tiers[name] += with_brace
    # No pair of characters occurs more often than this below tier 1 (nor twice in one name).
    highest = sum(n * len(unit) for unit, n in counts.items()) + 2 * (len(names) + 1) * with_brace
    words = listed - environments.keys() | ({"\\begin", "\\end"} if environments else set())
    for word in words:
        n = counts[word] + counts[" " + word]
        tiers[word] = tiers[" " + word] = highest + n
    return tiers
