// The author's macros: what a definition says.
#pragma once

#include "core.h"

enum Kind {
    MACRO,
    EDGE,                                          // \begin or \end
    DEFINER,                                       // a command that defines macros, such as \newcommand
};

// One argument that \NewDocumentCommand specifies. `opening` and `closing`: MISSING where there is none.
typedef struct {
    u8 letter;
    int opening, closing;
    Text default_value;
} Letter;

struct Macro {
    enum Kind kind;
    i32 n_args;
    bool has_default;                              // the first argument is optional
    bool has_body;                                 // false where only TeX can read it
    bool is_primitive;  // made by \let from a command of TeX: not expanded further
    Text default_value, body;
    const Letter* letters;
    i32 n_letters;
    Text delimited;  // the parameter text of \def if it is more than parameters
    enum { UNKNOWN, PRINTS, NEEDS_TEX } verdict;  // of printing_part, found out once
    Text printing;
    Template* plain;  // of a body without commands; made once
};

// A definition that was read: up to two macros, and the offset behind it.
typedef struct {
    i32 n;
    Name* name[2];
    Macro* macro[2];
    i32 end;  // MISSING where it cannot be read
} Definition;

enum Definer {
    NO_DEFINER,
    NEWCOMMAND,
    RENEWCOMMAND,
    PROVIDECOMMAND,
    XPARSE,
    DEF,
    OPERATOR,
    ENVIRONMENT,
    PAIRED,
    LET
};

typedef struct {
    enum Definer definer;
    i32 end;  // behind the command that defines
} Defining;

void make_definers(void);                          // once
Defining definer_at(Text text, i32 at);  // at a backslash
i32 find_definer(Text text, i32 at, Defining* defining);  // the next backslash at which there is one
Text defined_name(Text text, i32* at);  // the name behind a definer, without its backslash
Definition read_definition(Names* names, Groups* groups, Defining defining);
Macro* macro_from_expl(const Macro* macro);
bool same_macro(const Macro* one, const Macro* other);

bool needs_tex(Text body);  // only TeX can carry it out (needs_tex.c)
bool printing_part(Text body, Text* printing);  // the body without parts that print nothing

// ---------------------------------------------------------------- other forms of arguments (arguments.c)

#define MAX_ARGUMENTS 9  // of a macro, as in TeX
#define MAX_DELIMITED 128  // of a parameter text of 200 bytes
#define NO_VALUE TEXT("-NoValue-")  // xparse's value of an optional argument that is not given
#define TRUE_VALUE TEXT("\\BooleanTrue")
#define FALSE_VALUE TEXT("\\BooleanFalse")

i32 next_expl_region(Text text, i32 at, i32* end);  // the start of the next \ExplSyntaxOn ... \ExplSyntaxOff
Text as_latex(Text body);
const Letter* read_letters(Text signature, i32* n_letters);  // NULL if one is of kind e, b or g
// The arguments of a use that ends at `at`; they return the offset behind them.
i32 plain_arguments(const Macro* macro, Groups* groups, i32 at, Text* arguments);
i32 letter_arguments(const Macro* macro, Groups* groups, i32 at, Text* arguments);
i32 delimited_arguments(const Macro* macro, Groups* groups, i32 at, Text* arguments, i32* n_arguments);
