// Expansion of macros: the state for one document, and what its parts need of each other.
#pragma once

#include "macros.h"

#define MAX_DEPTH 25  // nesting of macros in the arguments and bodies of macros
#define MAX_USES 100000  // of macros in a document; a book has 10,000
#define MAX_FAILURES 20  // in a row, after which a macro's uses stay
#define WINDOW 2000  // bytes behind a use that its macro may read

struct Template {
    i32 n_places;
    const Text* literals;  // n_places + 1
    const u8* arguments;  // the number of the argument at each place
    i32 n_bytes;
    bool is_in_order;  // each argument is used once, in ascending order
    bool is_incomplete;  // contains a macro that cannot be expanded
};

typedef struct {
    Names names;
    i64 output_budget, work_budget;  // in bytes
    i32 n_uses, depth, age;  // `age`: of templates; it rises when a macro changes
    bool counts;  // uses are counted: in the document and in arguments
    bool in_body, met_opaque;  // in a macro's body, where the text behind is unknown
    i32 n_replaced, n_left, n_names_left;
    i64 removed[N_CAUSES];
} Expander;

void begin_document(Expander* x, i64 n_bytes);
void learn(Expander* x, Text text);  // reads definitions, usually in a preamble
Text without_expl_regions(Expander* x, Text text);
Text expand(Expander* x, Text text);  // in a buffer that lives as long as the paper

Text names_left(Expander* x);

// What replaces a use up to `end`; `end` is MISSING where the use stays.
typedef struct {
    Text text;
    i32 end;
    bool has_macros;  // that could not be expanded
} Use;

// ---------------------------------------------------------------- uses.c

Use use_macro(Expander* x, Name* name, Macro* macro, Groups* groups, i32 at);
Template* template_for(Expander* x, Name* name, Macro* macro);  // NULL: only uses can be carried out
Template* known_template(const Expander* x, const Name* name);
bool spend(Expander* x, i64 n_bytes);  // counts one more use and its output; false beyond a limit
void leave(Expander* x, Name* name);  // counts a use that stays

// ---------------------------------------------------------------- expand.c

i32 define_at(Expander* x, Groups* groups, i32 start, bool is_outermost);
Text expand_text(Expander* x, Text text, bool is_outermost);

// ---------------------------------------------------------------- templates.c

Template* make_template(Text body, i32 n_args, bool is_incomplete);
i64 filled_bytes(const Template* template, const Text* arguments, i32 n_args);
Text fill_template(const Template* template, const Text* arguments, i32 n_args);
Argument fill_body(const Macro* macro, Groups* groups, i32 at);  // in `scratch`

// ---------------------------------------------------------------- gullet.c

typedef struct {
    Text printed;  // in `scratch`
    i32 taken;  // bytes of the text behind the use
    i64 n_read;
    bool given_up;
} Carried;

Carried carry_out(Expander* x, Text body, Text behind);

// What replaces a command up to `end`: `done`, which is final, then `new`, which is read again.
typedef struct {
    enum { NO_STEP, STEP, GIVEN_UP } outcome;
    Text new, done;
    i32 end;
} Step;

Step step_of_macro(Expander* x, Groups* groups, i32 start, i32 end);
