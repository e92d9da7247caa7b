// How a paper flows through the core: from flattened LaTeX to clean text.
#include "document.h"

static Expander expander;

Cleaned clean_document(Text text, const Options* options) {
    Cleaned clean = {.expander = &expander};
    Placeholders verbatim = {0};
    Text preamble;
    i64* removed = clean.removed;
    text = strip_control_characters(text, removed);  // NUL is now free: it marks verbatim text
    text = strip_comments(text, &verbatim, removed);
    text = resolve_conditionals(text, removed);
    text = split_document(text, &preamble, removed);
    begin_document(&expander, text.n);
    if (options->expands_macros) {
        learn(&expander, preamble);
        text = expand(&expander, without_expl_regions(&expander, text));
        for (int n = 0; n < N_CAUSES; n++) removed[n] += expander.removed[n];
    }
    text = tidy_environments(text, options, removed);
    clean.text = restore(tidy_blanks(text, removed), &verbatim, removed);
    clean.names_left = names_left(&expander);
    return clean;
}
