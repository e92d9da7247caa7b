// What the passes over layout share.
#pragma once

#include "passes.h"

enum Rule {                                        // what a name means for layout
    NO_RULE,
    REMOVED_COMMAND,                               // goes with its arguments
    PAIR,  // an environment in plain form: \topmatter ... \endtopmatter
    REGISTER,  // its assignments go
    TREATED_ENVIRONMENT,
    // In prose only:
    WITHOUT_ARGUMENTS,
    ONE_GROUP,
    TWO_GROUPS,
    COLOURED,
    HSPACE,
    HSKIP,
    HFILL,
    PARAGRAPH,
};

extern Names layout_names;  // commands; environments with a `{` before their names

i32 length_end(Text text, i32 at, bool allows_paragraph);  // behind 3pt plus 1pt
i32 value_length_end(Text text, i32 at);           // the same, or 0.5\baselineskip (registers.c)
i32 assignment_end(Text text, i32 start, i32 end);
i32 unit_end(Text text, i32 at);
i32 stretch_end(Text text, i32 at);  // behind `plus 1pt minus 2pt`

// Tells whether offsets of a text, given in ascending order, are inside mathematics. A formula ends with its
// paragraph at the latest, as in TeX.
typedef struct {
    Text text;
    i32 at;  // the text has been read up to here
    i32 dollars;  // 1 or 2 that opened the current formula, or 0
    i32 depth;  // of formulas opened by commands
} Mathematics;

bool in_mathematics(Mathematics* mathematics, i32 at);

// A replacement of [start, end) by `new`; with `is_cut` the line end goes too if nothing else is on the line.
typedef struct {
    i32 start, end;
    Text new;
    bool is_cut;
} Edit;

// Removes layout commands in a pass that also makes other edits to `out`, in ascending order.
typedef struct {
    Groups* groups;
    Rewriter* out;
    Mathematics mathematics;
    i32 tables_until, open_tables;
    Edit* waiting;  // closing braces of coloured text, in descending order
    i32 n_waiting, room;
} ProseLayout;

void meet_command(ProseLayout* layout, i32 start, i32 end, enum Rule rule);
void meet_last_break(ProseLayout* layout, i32 start, i32 end);
void advance_to(ProseLayout* layout, i32 at);  // makes the edits that lie before
void free_prose_layout(ProseLayout* layout);
Text drop_prose_layout(Text caption, i64* removed);  // in a buffer
