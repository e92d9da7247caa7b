"""The card of a corpus: what it holds, under which licences, how it was made, how to load it, what it lacks.

    python analysis/corpus_card.py --data data [--variant main] [--tokenizer main] [--out DIR]
    python analysis/corpus_card.py --data data --variant open --push OWNER/NAME [--confirm] [--all-licences]

In:  $DATA/corpus/<variant>/split_corpus/, the ledgers, the index of the token shards, contamination.json.
Out: in DIR (default: analysis/out/card/<variant>) README.md, with the front matter that the Hugging Face Hub
     reads, and card.html. --push shows what would go to the Hub; with --confirm it goes there: the card and
     the Parquet files. Text that its licence keeps back is refused unless --all-licences is given.
The same corpus gives the same card. Examples show only openly licensed papers.
"""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from markdown_it import MarkdownIt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run this checkout's code

from analysis.readers.distinct_ngrams import read_diversity
from analysis.readers.groups import licence_name, read_groups
from analysis.readers.ledgers import Corpus, corpus_arguments, read_corpus, read_rows, stage_folders
from analysis.table_text import markdown, print_written
from analysis.yield_report import report
from configs.loader import UserError, format_bytes, run_main

# As `licenses: open` in a recipe: licences under which anyone may pass the text on.
OPEN_LICENCE = re.compile(r"CC (by|by-sa)/|CC publicdomain")
EXAMPLES, EXAMPLE_CHARACTERS = 2, 600  # of each domain; of each example
SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
)
PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{max-width:60em;margin:2em auto;padding:0 1em;font:16px/1.5 sans-serif}}
table{{border-collapse:collapse;font-size:14px}}td,th{{border-bottom:1px solid #ccc;padding:.2em .6em}}
pre{{background:#f5f5f5;padding:.8em;overflow-x:auto;white-space:pre-wrap}}</style>
{body}</html>
"""


@dataclass
class Contents:
    """What the finished corpus holds, counted over its Parquet files."""

    documents: Counter[str] = field(default_factory=Counter)  # by split
    licences: Counter[str] = field(default_factory=Counter)  # documents by name
    languages: Counter[str] = field(default_factory=Counter)
    macros_left: int = 0
    with_macros_left: int = 0
    components: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)  # by domain: rank, id, text

    @property
    def n_documents(self) -> int:
        return self.documents.total()

    @property
    def closed(self) -> Counter[str]:
        """Documents by licence that does not allow sharing."""
        return Counter({name: n for name, n in self.licences.items() if not OPEN_LICENCE.match(name)})


def read_contents(folder: Path) -> Contents:
    """Count the documents of a finished corpus; one row group is in memory at a time."""
    found = Contents()
    columns = ["id", "domain", "license", "language", "split", "component", "record"]
    for path in sorted(folder.glob("*.parquet")):
        for row in read_rows(path, columns):
            name = licence_name(row["license"])
            found.documents[row["split"]] += 1
            found.licences[name] += 1
            found.languages[row["language"] or "none"] += 1
            found.components[row["component"]] += 1
            left = json.loads(row["record"]).get("macros_left", 0)
            found.macros_left += left
            found.with_macros_left += left > 0
            of_domain = found.examples.setdefault(row["domain"], [])
            if OPEN_LICENCE.match(name):
                rank = int.from_bytes(hashlib.sha256(row["id"].encode()).digest()[:8])
                of_domain.append((rank, row["id"], path.name))
                of_domain.sort()
                del of_domain[EXAMPLES:]
    for of_domain in found.examples.values():
        of_domain[:] = [(rank, paper, _text_of(folder / name, paper)) for rank, paper, name in of_domain]
    return found


def _text_of(path: Path, paper_id: str) -> str:
    table = pq.read_table(path, columns=["id", "text"], filters=[("id", "==", paper_id)])
    return str(table["text"][0].as_py())


# ---------------------------------------------------------------- the card


def card(
    data: Path,
    variant: str,
    tokenizer: str,
    contents: Contents,
    corpus: Corpus,
    repository: str | None = None,
) -> str:
    """The card as Markdown, without front matter. `repository`: where it is to be loaded from, if not here.

    Raises UserError as the readers of the corpus do.
    """
    folder = stage_folders(data, variant, "corpus")["split_corpus"]
    groups = read_groups(data, variant, tokenizer)
    diversity = read_diversity(stage_folders(data, variant)["filter_quality"])
    final = corpus.stages["split_corpus"]
    n_tokens = sum(group.n_tokens for group in groups["domain"].values())
    words = f"{n_tokens:,} tokens of tokenizer `{tokenizer}`" if n_tokens else "not tokenized"
    open_share = 100 * (1 - contents.closed.total() / max(contents.n_documents, 1))
    parts = [
        f"# Corpus `{variant}`",
        f"{contents.n_documents:,} papers of arXiv as clean LaTeX text: prose and mathematics as their "
        f"authors wrote them, {format_bytes(final.bytes_out)}, {words}; {contents.documents['train']:,} for "
        f"training, {contents.documents['val']:,} for validation (column `split`). Every paper has its "
        f"arXiv id, categories, licence, date, source file and a record of how its text was made.",
        "## How to load it",
        loading(f"hf://datasets/{repository}/data" if repository else str(folder)),
        "## Licences",
        f"{open_share:.1f} % of the papers may be passed on (CC BY, CC BY-SA, public domain). The text of "
        "the others may not; arXiv's own licence lets only arXiv distribute it. The metadata is CC0.",
        markdown(
            ("licence", "documents", "%", "may be shared"),
            [
                (
                    name,
                    f"{n:,}",
                    _percent(n, contents.n_documents),
                    "yes" if OPEN_LICENCE.match(name) else "no",
                )
                for name, n in contents.licences.most_common()
            ],
        ),
        "## Duplicates",
        duplicates(corpus, contents),
        "## Decontamination",
        decontamination(stage_folders(data, variant, "corpus")["deduplicate"]),
        "## Language",
        markdown(
            ("language of the prose", "documents", "%"),
            [
                (name, f"{n:,}", _percent(n, contents.n_documents))
                for name, n in contents.languages.most_common()
            ],
        ),
        f"{corpus.stages['filter_quality'].dropped['language']:,} papers in other languages were dropped.",
        "## Examples",
        *examples(contents.examples),
        "## Known limits",
        limits(contents),
        report(corpus, groups, diversity, variant)
        .replace("\n## ", "\n### ")
        .replace("# Yield of", "## Yield of", 1),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def loading(folder: str) -> str:
    """A line for each of three readers, which a test runs."""
    return f"""```python
import datasets, duckdb, pandas
datasets.load_dataset("parquet", data_files="{folder}/*.parquet", split="train")
duckdb.sql("select domain, split, count(*) as papers from '{folder}/*.parquet' group by all order by all")
pandas.read_parquet("{folder}", columns=["id", "domain", "license", "text"])
```"""  # noqa: S608 (text for readers)


def duplicates(corpus: Corpus, contents: Contents) -> str:
    """What deduplication dropped, and which relatives stay."""
    dropped = corpus.stages["deduplicate"].dropped
    n_in = corpus.stages["deduplicate"].n_in
    late = corpus.stages["split_corpus"].dropped
    rows = [(reason, f"{n:,}", _percent(n, n_in)) for reason, n in dropped.most_common()]
    rows += [(f"{reason} (split_corpus)", f"{n:,}", _percent(n, n_in)) for reason, n in late.most_common()]
    related = sum(n for n in contents.components.values() if n > 1)
    return (
        (markdown(("dropped for", "documents", "% of those compared"), rows) if rows else "None was dropped.")
        + f"\n\n{related:,} papers that stay are relatives of others that stay (same `component`), on one "
        "side of the split."
    )


def decontamination(folder: Path) -> str:
    """Which benchmarks were looked for, and what was found."""
    path = folder / "contamination.json"
    if not path.is_file():
        return (
            "No benchmark was given (`deduplicate: {benchmarks: […]}`): the corpus is **not** decontaminated."
        )
    return f"```json\n{json.dumps(json.loads(path.read_text()), indent=1)[:4000]}\n```"


def examples(by_domain: Mapping[str, Sequence[tuple[int, str, str]]]) -> list[str]:
    """The first lines of some openly licensed papers of each domain."""
    parts = []
    for domain, papers in sorted(by_domain.items()):
        parts.append(f"### {domain}")
        if not papers:
            parts.append("No paper of this domain may be shown: none is openly licensed.")
        for _, paper_id, text in papers:
            start = text[:EXAMPLE_CHARACTERS]
            longest = max(map(len, re.findall("`+", start)), default=0)
            fence = "`" * max(3, longest + 1)
            parts.append(
                f"[{paper_id}](https://arxiv.org/abs/{paper_id})\n\n{fence}latex\n{start} …\n{fence}"
            )
    return parts


def limits(contents: Contents) -> str:
    """What readers must know; figures are of this corpus."""
    share = _percent(contents.with_macros_left, contents.n_documents)
    return "\n".join(
        [
            f"- {contents.macros_left:,} uses of authors' macros stay as they are, in {share} % of papers.",
            "- Figures are dropped but for their captions; so are bibliographies: `\\cite` points nowhere.",
            "- PDF-only submissions, withdrawn papers and papers without usable TeX are not in it.",
            "- Names, affiliations and e-mail addresses that authors put into their text stay.",
            "- Papers are as submitted: not all are peer-reviewed, and some are wrong.",
            "- Rules judge language and quality (the tables below say what each dropped), not readers.",
        ]
    )


def front_matter(variant: str, contents: Contents) -> str:
    """What the Hub reads at the top of a card (YAML)."""
    size = next((name for limit, name in SIZES if contents.n_documents < limit), "n>10M")
    languages = "\n".join(f"- {name}" for name in sorted(contents.languages.keys() - {"none"}))
    return (
        f"---\npretty_name: arXiv to model, corpus {variant}\nlicense: other\nlanguage:\n{languages}\n"
        f"task_categories:\n- text-generation\nsize_categories:\n- {size}\n"
        'configs:\n- config_name: default\n  data_files: "data/*.parquet"\n---\n\n'
    )


def as_html(text: str, title: str) -> str:
    """The card as a page. HTML in papers is shown, not obeyed."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return PAGE.format(title=title, body=body)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f}"


# ---------------------------------------------------------------- the Hub


def check_licences(contents: Contents, all_licences: bool) -> None:
    """Raise UserError if a document may not be shared, unless the user answers for it."""
    if contents.closed and not all_licences:
        name, n = contents.closed.most_common(1)[0]
        raise UserError(
            f"{contents.closed.total():,} of {contents.n_documents:,} documents may not be passed on "
            f"({name}: {n:,}, …): push a corpus with `filter_metadata: {{licenses: open}}` "
            "(make preprocess VARIANT=open), or take the responsibility with --all-licences"
        )


def push(repository: str, readme: Path, folder: Path, confirm: bool, api: Any = None) -> None:
    """Show what would be uploaded; upload it if `confirm`. `api`: huggingface_hub's HfApi."""
    shards = sorted(folder.glob("*.parquet"))
    print(
        f"corpus_card: {repository}: README.md, data/ with {len(shards)} files, "
        f"{format_bytes(sum(path.stat().st_size for path in shards))}"
    )
    if not confirm:
        print("corpus_card: nothing was uploaded; --confirm uploads it as a private data set")
        return
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi()
    api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
    api.upload_folder(
        repo_id=repository,
        repo_type="dataset",
        folder_path=folder,
        path_in_repo="data",
        allow_patterns="*.parquet",
    )
    api.upload_file(repo_id=repository, repo_type="dataset", path_or_fileobj=readme, path_in_repo="README.md")


def main() -> None:
    """Write the card; show or make the upload."""
    parser = corpus_arguments(__doc__, "card")
    parser.add_argument(
        "--push", metavar="OWNER/NAME", help="data set on the Hub; shows only, without --confirm"
    )
    parser.add_argument("--confirm", action="store_true", help="upload")
    parser.add_argument("--all-licences", action="store_true", help="also text that its licence keeps back")
    args = parser.parse_args()

    corpus = read_corpus(args.data, args.variant)
    if "split_corpus" not in corpus.stages or corpus.unfinished:
        raise UserError(
            f"{args.data}: corpus {args.variant!r} is unfinished; make preprocess goes on with it"
        )
    folder = stage_folders(args.data, args.variant, "corpus")["split_corpus"]
    contents = read_contents(folder)
    if args.push:
        check_licences(contents, args.all_licences)
    text = card(args.data, args.variant, args.tokenizer, contents, corpus, args.push)
    out = args.out or Path("analysis/out/card") / args.variant
    out.mkdir(parents=True, exist_ok=True)
    (out / "README.md").write_text(front_matter(args.variant, contents) + text, encoding="utf-8")
    (out / "card.html").write_text(as_html(text, f"Corpus {args.variant}"), encoding="utf-8")
    print_written([out / "README.md", out / "card.html"])
    if args.push:
        push(args.push, out / "README.md", folder, args.confirm)


if __name__ == "__main__":
    run_main(main)
