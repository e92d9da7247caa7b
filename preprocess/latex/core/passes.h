// The passes over a text, in the order in which a paper goes through them.
#pragma once

#include "core.h"

// ---------------------------------------------------------------- verbatim.c

typedef struct {
    enum { NO_EVENT, VERB, URL, ENVIRONMENT_EVENT, COMMAND } kind;
    i32 start, end;
    Name* environment;
} Event;

enum { EXCLUDED = 1 };                              // rule of an environment whose content is a comment

typedef struct {
    Text text;
    i32 at;
    Names environments;                            // verbatim ones
    bool has_own;                                  // the paper defines some
    Names commands;                                // that are events, too: `\input`, `\begin{document}`
    u64 beginnings[16];                            // of all events
} Lexer;

Lexer lexer_of(Text text);
void look_for(Lexer* lexer, Text command);         // makes it an event
void read_own_environments(Lexer* lexer);          // verbatim ones that the preamble defines
// The next verbatim text outside comments: `\verb` and the like, a URL, or a whole environment; one that is
// never closed is not verbatim. Or the next command that the lexer looks for, without its arguments.
Event next_event(Lexer* lexer);

// ---------------------------------------------------------------- commands.c

typedef struct {
    i32* offsets;
    i32 n;
} Offsets;

// Where commands begin outside comments and verbatim text. `names`: one a line, also `\begin{document}`.
Offsets find_commands(Text text, Text names);

// ---------------------------------------------------------------- comments.c

// Verbatim text that was taken out. Its placeholder in the text is its number between NULs.
typedef struct {
    Text* pieces;
    i32 n, room;
} Placeholders;

Text strip_comments(Text text, Placeholders* verbatim, i64* removed);
Text restore(Text text, const Placeholders* verbatim, i64* removed);

Text resolve_conditionals(Text text, i64* removed);

typedef struct {
    bool expands_macros, drops_front_matter;
    enum { KEEP, CAPTIONS, DROP } figures, tables, algorithms, bibliography;
} Options;

void make_layout_rules(void);                      // once
Text tidy_environments(Text text, const Options* options, i64* removed);

Text strip_control_characters(Text text, i64* removed);
Text tidy_blanks(Text text, i64* removed);
Text split_document(Text text, Text* preamble, i64* removed);

static inline Text finish_pass(Rewriter* out, i64* removed) {
    for (int n = 0; n < N_CAUSES; n++) removed[n] += out->removed[n];
    return finish(out);
}
