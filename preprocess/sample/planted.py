"""The unusual papers planted in the built-in sample, each with the stage that drops it and the reason."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from preprocess.sample import latex_oddities as oddities
from preprocess.sample.foreign import write_foreign
from preprocess.sample.manuscript import Manuscript, write_manuscript
from preprocess.sample.packaging import gzip_bytes, package
from preprocess.sample.source import Source, write_source
from preprocess.sample.submission import Submission, Verdict, month_start, record_of

KEPT = Verdict()
_DUPLICATE = Verdict("deduplicate", "exact_duplicate")
_CATEGORY = Verdict("filter_metadata", "category")

# Papers that are stored in unusual ways: kind, month (YYMM), category, verdict, function that stores them.
_STORED: tuple[tuple[str, str, str, Verdict, Callable[[Source], bytes]], ...] = (
    (
        "corrupt_gzip",
        "0306",
        "math.CO",
        Verdict("validate_archives", "corrupt_archive"),
        oddities.corrupt_gzip,
    ),
    (
        "truncated_gzip",
        "0704",
        "quant-ph",
        Verdict("validate_archives", "truncated_archive"),
        oddities.truncated_gzip,
    ),
    ("postscript", "9901", "hep-th", Verdict("validate_archives", "postscript"), oddities.postscript),
    ("html", "0306", "cs.LO", Verdict("validate_archives", "html"), oddities.html),
    ("auto_ignore", "1207", "gr-qc", Verdict("extract_latex", "auto_ignore"), oddities.auto_ignore),
    ("no_tex", "1501", "cs.LG", Verdict("extract_latex", "no_tex_source"), oddities.no_tex),
    ("slides", "2105", "cs.LG", Verdict("filter_quality", "slides"), oddities.slides),
    ("hostile_tar", "2105", "math.AG", KEPT, oddities.hostile_tar),
    ("readme_directive", "0704", "math.AP", KEPT, oddities.readme_directive),
    ("multi_member_gzip", "1501", "math.NT", KEPT, oddities.multi_member_gzip),
    ("trailing_bytes", "0704", "cs.DS", KEPT, oddities.trailing_bytes),
    ("latin1", "0306", "math.AG", KEPT, oddities.latin1),
    ("cr_only", "9901", "hep-th", KEPT, oddities.cr_only),
    ("crlf", "0306", "quant-ph", KEPT, oddities.crlf),
    ("utf8_bom", "1501", "cs.LO", KEPT, oddities.utf8_bom),
)
# Papers with unusual categories: kind, month (YYMM), category of the text, categories in the metadata,
# verdict of the category list `paper`. physics.soc-ph does not belong to cs, although its name contains "cs";
# a cross-listed category does not count.
_CATEGORIES = (
    ("category_astro", "0306", "gr-qc", "astro-ph", _CATEGORY),
    ("category_biology", "1501", "math.AP", "q-bio.PE", _CATEGORY),
    ("category_physics", "2105", "cs.DS", "physics.soc-ph", _CATEGORY),
    ("category_crosslist", "1207", "gr-qc", "astro-ph.CO gr-qc", _CATEGORY),
    ("category_machine_learning", "2105", "cs.LG", "stat.ML cs.LG", KEPT),
    ("category_statistics_theory", "2105", "cs.IT", "stat.TH math.ST", KEPT),
)


def planted_papers(seed: int) -> Iterator[Submission]:
    """All planted papers of a seed, in a fixed order."""
    for kind, yymm, category, verdict, store in _STORED:
        yield _paper(seed, kind, yymm, category, verdict, store)
    for yymm, category in (("0306", "hep-th"), ("1207", "cs.IT"), ("2105", "math.AP")):
        verdict = Verdict("validate_archives", "pdf_only")
        yield replace(_paper(seed, "pdf_only", yymm, category, verdict, oddities.pdf), suffix=".pdf")
    yield from _by_metadata(seed)
    yield from _exact_duplicates(seed)
    yield from _near_duplicates(seed)
    yield from _contained(seed)
    yield from _by_text(seed)


def _draft(seed: int, key: str, yymm: str, category: str, n_bytes: int = 8000) -> tuple[Manuscript, Source]:
    """A sound paper in one file, as manuscript and source; `key` makes it different from others."""
    rng = random.Random(f"{seed}/planted/{key}")
    manuscript = write_manuscript(rng, category, n_bytes, illustrated=False)
    return manuscript, write_source(rng, manuscript, month_start(yymm).year, "latex2e", "single")


def _submit(
    seed: int, kind: str, yymm: str, manuscript: Manuscript, data: bytes, verdict: Verdict = KEPT
) -> Submission:
    record = record_of(random.Random(f"{seed}/record/{kind}"), manuscript, yymm)
    return Submission(yymm, record, data, kind=kind, verdict=verdict)


def _paper(
    seed: int,
    kind: str,
    yymm: str,
    category: str,
    verdict: Verdict,
    store: Callable[[Source], bytes] = lambda source: package(source.files),
) -> Submission:
    manuscript, source = _draft(seed, f"{kind}/{yymm}", yymm, category)
    return _submit(seed, kind, yymm, manuscript, store(source), verdict)


def _by_metadata(seed: int) -> Iterator[Submission]:
    for kind, yymm, category, categories, verdict in _CATEGORIES:
        paper = _paper(seed, kind, yymm, category, verdict)
        yield replace(paper, record=replace(paper.record, categories=categories))

    withdrawn = Verdict("filter_metadata", "withdrawn")
    paper = _paper(seed, "withdrawn_comments", "0306", "math.NT", withdrawn)
    comments = "This paper has been withdrawn by the author due to a crucial error in Lemma 4"
    yield replace(paper, record=replace(paper.record, comments=comments))
    paper = _paper(seed, "withdrawn_abstract", "1207", "cs.DS", withdrawn)
    abstract = "This paper has been withdrawn by the authors, because equation (12) is wrong."
    yield replace(paper, record=replace(paper.record, abstract=abstract))
    paper = _paper(seed, "previous_version_withdrawn", "1501", "math.AG", KEPT)
    comments = "21 pages; a previous version was withdrawn because of a gap in the proof, now closed"
    yield replace(paper, record=replace(paper.record, comments=comments))
    paper = _paper(seed, "claim_withdrawn", "0704", "gr-qc", KEPT)
    abstract = f"{paper.record.abstract}\nThis version withdraws a claim of the first one, on uniqueness."
    yield replace(paper, record=replace(paper.record, abstract=abstract))

    yield replace(_paper(seed, "two_metadata_lines", "1501", "quant-ph", KEPT), metadata_lines=2)
    unlisted = Verdict("extract_latex", "not_selected")
    yield replace(_paper(seed, "not_in_metadata", "1207", "math.CO", unlisted), metadata_lines=0)


def _exact_duplicates(seed: int) -> Iterator[Submission]:
    for kind, category, rewrite in (
        ("exact_duplicate_comments", "math.CO", oddities.respaced),
        ("exact_duplicate_packaging", "hep-th", oddities.repackaged),
    ):
        manuscript, source = _draft(seed, kind, "0704", category)
        yield _submit(seed, f"{kind}_original", "0704", manuscript, package(source.files))
        yield _submit(seed, kind, "1501", manuscript, rewrite(source), _DUPLICATE)


def _near_duplicates(seed: int) -> Iterator[Submission]:
    """A paper, and a revision of it with a different last section (Jaccard similarity above 0.8)."""
    manuscript, source = _draft(seed, "near_duplicate", "1207", "cs.LG", 12000)
    yield _submit(seed, "near_duplicate_original", "1207", manuscript, package(source.files))
    other, _ = _draft(seed, "near_duplicate_ending", "1207", "cs.LG")
    text = source.main_text
    head = text[: text.index(f"\\section{{{manuscript.sections[-1].title}}}")]
    references = text[text.index("\\begin{thebibliography}") :]
    ending = f"\\section{{Conclusion}}\n\n{other.abstract}\n\n{references}"
    verdict = Verdict("deduplicate", "near_duplicate")
    yield _submit(seed, "near_duplicate", "2105", manuscript, gzip_bytes((head + ending).encode()), verdict)


def _contained(seed: int) -> Iterator[Submission]:
    """A book, and a paper that is one of its chapters."""
    chapters = [_draft(seed, f"chapter/{i}", "1207", "math-ph", 9000)[0] for i in range(4)]
    book = replace(
        chapters[0],
        title="Lectures on disordered systems",
        sections=tuple(section for chapter in chapters for section in chapter.sections),
        references=tuple(entry for chapter in chapters for entry in chapter.references),
    )
    for kind, manuscript, layout, verdict in (
        ("contained_book", book, "split", KEPT),
        ("contained_chapter", chapters[2], "single", Verdict("deduplicate", "contained")),
    ):
        # The same seed for both, because one author writes both in the same way.
        source = write_source(random.Random(f"{seed}/contained"), manuscript, 2012, "latex2e", layout)
        yield _submit(seed, kind, "1207", manuscript, package(source.files), verdict)


def _by_text(seed: int) -> Iterator[Submission]:
    for language, yymm, category in (("german", "0704", "math.CO"), ("french", "1207", "math.AP")):
        title, abstract, text = write_foreign(random.Random(f"{seed}/{language}"), language, 9000)
        verdict = Verdict("filter_quality", "language")
        manuscript, _ = _draft(seed, language, yymm, category)
        paper = _submit(seed, language, yymm, manuscript, gzip_bytes(text.encode()), verdict)
        yield replace(paper, record=replace(paper.record, title=title, abstract=abstract))

    notice = "In the second theorem of our earlier paper the bound should read five, and not four as printed."
    erratum = gzip_bytes(oddities.article("Erratum", notice).encode())
    verdict = Verdict("filter_quality", "too_short")
    paper = _paper(seed, "too_short", "2105", "math.NT", verdict, lambda _: erratum)
    yield replace(paper, record=replace(paper.record, title="Erratum", abstract="A misprint is corrected."))

    manuscript, _ = _draft(seed, "repetitive", "1501", "cs.IT")
    repeated = gzip_bytes(oddities.article(manuscript.title, f"{manuscript.abstract}\n\n" * 60).encode())
    yield _submit(seed, "repetitive", "1501", manuscript, repeated, Verdict("filter_quality", "repetitive"))
