// Reads the definitions of the author's macros, in all forms that TeX and LaTeX have for them.
//
// A macro that only TeX can carry out (one that typesets, or assigns) is recorded without a body: its uses
// stay as they are and are counted.
#include "macros.h"

static const struct {
    Text name;
    enum Definer definer;
} DEFINERS[] = {
    {{(const u8*)"newcommand", 10}, NEWCOMMAND},
    {{(const u8*)"DeclareRobustCommand", 20}, NEWCOMMAND},
    {{(const u8*)"renewcommand", 12}, RENEWCOMMAND},
    {{(const u8*)"providecommand", 14}, PROVIDECOMMAND},
    {{(const u8*)"def", 3}, DEF},
    {{(const u8*)"gdef", 4}, DEF},
    {{(const u8*)"edef", 4}, DEF},
    {{(const u8*)"xdef", 4}, DEF},
    {{(const u8*)"let", 3}, LET},
    {{(const u8*)"DeclareMathOperator", 19}, OPERATOR},
    {{(const u8*)"newmathop", 9}, OPERATOR},
    {{(const u8*)"newenvironment", 14}, ENVIRONMENT},
    {{(const u8*)"renewenvironment", 16}, ENVIRONMENT},
    {{(const u8*)"provideenvironment", 18}, ENVIRONMENT},
    {{(const u8*)"DeclarePairedDelimiter", 22}, PAIRED},
    {{(const u8*)"NewDocumentCommand", 18}, XPARSE},
    {{(const u8*)"RenewDocumentCommand", 20}, XPARSE},
    {{(const u8*)"ProvideDocumentCommand", 22}, XPARSE},
    {{(const u8*)"DeclareDocumentCommand", 22}, XPARSE},
    {{(const u8*)"NewExpandableDocumentCommand", 28}, XPARSE},
    {{(const u8*)"DeclareExpandableDocumentCommand", 32}, XPARSE},
};
#define N_DEFINERS (sizeof DEFINERS / sizeof *DEFINERS)
static const Text PREFIXES[] = {
    {(const u8*)"long", 4},
    {(const u8*)"global", 6},
    {(const u8*)"protected", 9},
    {(const u8*)"outer", 5},
};
// Commands for the structure of a text are never expanded: authors redefine them for their layout, and later
// passes look for their names.
static const char KEPT_COMMANDS[] =
    " begin end item par section subsection subsubsection paragraph subparagraph chapter part caption"
    " label ref eqref cite citep citet bibitem footnote title author date abstract document maketitle"
    " thebibliography emph textbf textit text left right sqrt frac sum int input include hline appendix"
    " relax ";
// Further commands that exist in LaTeX, so that \providecommand does not define them.
static const char OF_LATEX[] = " texttt textrm textsf textsc underline url href path mathrm mathbf mathit ";
static const char KEPT_ENVIRONMENTS[] =
    " abstract document theorem lemma proposition corollary definition proof remark example figure table"
    " equation align itemize enumerate description thebibliography quote quotation center verbatim ";

static u64 definer_beginnings[16];                 // of definers and prefixes
// The lengths of definers, as bits.
static const u64 LENGTHS = (u64)1 << 3 | (u64)1 << 4 | (u64)1 << 9 | (u64)1 << 10 | (u64)1 << 12 |
                           (u64)1 << 14 | (u64)1 << 16 | (u64)1 << 18 | (u64)1 << 19 | (u64)1 << 20 |
                           (u64)1 << 22 | (u64)1 << 28 | (u64)1 << 32;

void make_definers(void) {
    for (u32 n = 0; n < N_DEFINERS; n++) mark_beginning(definer_beginnings, DEFINERS[n].name);
    for (u32 n = 0; n < sizeof PREFIXES / sizeof *PREFIXES; n++) mark_beginning(definer_beginnings, PREFIXES[n]);
}

static const Definition NONE = {.end = MISSING};

// Behind prefixes such as `\long` at a backslash: the offset behind the backslash of the next command.
static i32 behind_prefixes(Text text, i32 at) {
    at++;
    for (int n = 0; n < 4; n++) {
        int first = byte_at(text, at);
        if (first != 'l' && first != 'g' && first != 'p' && first != 'o') return at;
        i32 behind = MISSING;
        for (int prefix = 0; prefix < 4 && behind == MISSING; prefix++)
            if (starts_with(text, at, PREFIXES[prefix])) behind = skip(text, at + PREFIXES[prefix].n, SPACE);
        if (behind == MISSING || byte_at(text, behind) != '\\') return at;
        at = behind + 1;
    }
    return at;
}

Defining definer_at(Text text, i32 at) {
    const Defining none = {NO_DEFINER, MISSING};
    at = behind_prefixes(text, at);
    i32 end = skip(text, at, LETTER | AT_SIGN);
    Text name = part(text, at, end);
    if (name.n > 40 || !(LENGTHS >> name.n & 1)) return none;
    for (u32 n = 0; n < N_DEFINERS; n++)
        if (DEFINERS[n].name.n == name.n && equal(DEFINERS[n].name, name))
            return (Defining){DEFINERS[n].definer, end};
    return none;
}

i32 find_definer(Text text, i32 at, Defining* defining) {
    for (; (at = find_beginning(definer_beginnings, text, at)) != MISSING; at++) {
        *defining = definer_at(text, at);
        if (defining->definer != NO_DEFINER) break;
    }
    return at;
}

// The name at `at`, behind a backslash: letters, or one character that is not white space.
static Text name_at(Text text, i32 at) {
    i32 end = skip(text, at, LETTER | AT_SIGN);
    if (end == at && at < text.n && !is_space(text.bytes[at])) end++;
    return part(text, at, end);
}

Text defined_name(Text text, i32* at) {
    i32 start = *at + (byte_at(text, *at) == '*');
    start = skip(text, start, SPACE);
    bool is_braced = byte_at(text, start) == '{';
    if (is_braced) start = skip(text, start + 1, SPACE);
    if (byte_at(text, start) != '\\') return (Text){0};
    Text name = name_at(text, start + 1);
    i32 end = start + 1 + name.n;
    if (is_braced) {
        end = skip(text, end, SPACE);
        if (byte_at(text, end++) != '}') return (Text){0};
    }
    *at = end;
    return name;
}

static Macro* new_macro(Macro macro) {
    Macro* made = take(&kept, sizeof(Macro));
    *made = macro;
    return made;
}

static bool is_known(const Names* names, Text name) {
    const Name* known = find_name(names, TEXT("\\"), name);
    return known && known->macro;
}

// `macro` under its name; nothing for a command of the text's structure.
static Definition named(Names* names, Text name, Macro* macro, i32 end) {
    if (is_among(name, KEPT_COMMANDS)) return (Definition){.end = end};
    return (Definition){1, {make_name(names, TEXT("\\"), name)}, {macro}, end};
}

// A body without blanks at its end and without `\xspace`, which only affect spacing.
static Text trimmed(Text body) {
    Text stripped = strip_end(body);
    if (stripped.n < body.n && is_escaped(body, stripped.n)) {  // a backslash and a blank are a command
        Text pieces[2] = {stripped, TEXT(" ")};
        return join(&kept, pieces, 2);
    }
    const Text xspace = TEXT("\\xspace");
    if (stripped.n >= xspace.n && starts_with(stripped, stripped.n - xspace.n, xspace))
        stripped.n -= xspace.n;
    return stripped;
}

// `[2][D]` at `at`: the number of arguments, the default of the first, and the offset behind.
static i32 read_signature(Groups* groups, i32 at, Macro* macro) {
    Text text = groups->text;
    i32 count = skip(text, at, SPACE);
    if (byte_at(text, count) != '[') return at;
    count = skip(text, count + 1, SPACE);
    if (!is_kind(byte_at(text, count), DIGIT)) return at;
    i32 end = skip(text, count + 1, SPACE);
    if (byte_at(text, end) != ']') return at;
    macro->n_args = text.bytes[count] - '0';
    Argument option = option_at(groups, end + 1);
    macro->has_default = option.end != MISSING;
    macro->default_value = option.content;
    return macro->has_default ? option.end : end + 1;
}

static Definition read_paired(Names* names, Groups* groups, Text name, i32 at) {
    Argument left = group_at(groups, at);
    Argument right = left.end == MISSING ? left : group_at(groups, left.end);
    if (right.end == MISSING) return NONE;
    // The optional argument is a size: \abs[\big]{x}.
    Text sized[4] = {TEXT("#1"), left.content, TEXT(" #2 #1"), right.content};
    Text scaled[4] = {TEXT("\\left"), left.content, TEXT(" #1 \\right"), right.content};
    Macro* macro =
        new_macro((Macro){.n_args = 2, .has_default = true, .has_body = true, .body = join(&kept, sized, 4)});
    Definition read = named(names, name, macro, right.end);
    if (read.n) {
        Text pieces[2] = {TEXT("\\"), name};
        read.name[1] = make_name(names, join(&kept, pieces, 2), TEXT("*"));
        read.macro[1] = new_macro((Macro){.n_args = 1, .has_body = true, .body = join(&kept, scaled, 4)});
        read.n = 2;
    }
    return read;
}

static Definition read_environment(Names* names, Groups* groups, i32 at) {
    at += byte_at(groups->text, at) == '*';
    Argument name = group_at(groups, at);
    if (name.end == MISSING) return NONE;
    Macro macro = {.has_body = true};
    at = read_signature(groups, name.end, &macro);
    Argument begin = group_at(groups, at);
    Argument end = begin.end == MISSING ? begin : group_at(groups, begin.end);
    if (end.end == MISSING) return NONE;
    Text key = strip(name.content);
    // The name of the environment says more than an expansion that only TeX can carry out.
    if (is_among(key, KEPT_ENVIRONMENTS) || needs_tex(begin.content) || needs_tex(end.content))
        return (Definition){.end = end.end};
    macro.body = strip(begin.content);
    Macro* begins = new_macro(macro);
    Macro* ends = new_macro((Macro){.has_body = true, .body = strip(end.content)});
    Name *begin_name = make_name(names, TEXT("\\begin{"), key),
         *end_name = make_name(names, TEXT("\\end{"), key);
    return (Definition){2, {begin_name, end_name}, {begins, ends}, end.end};
}

static Definition read_let(Names* names, Text text, Text name, i32 at) {
    at = skip(text, at, SPACE);
    if (byte_at(text, at) == '=') at++;
    if (is_kind(byte_at(text, at), BLANK)) at++;
    if (byte_at(text, at) != '\\') return NONE;
    Text target = name_at(text, at + 1);
    if (!target.n) return NONE;
    Name* known = find_name(names, TEXT("\\"), target);
    Macro* macro = known && known->macro ? known->macro : 0;
    if (!macro) {
        Text body = part(text, at, at + 1 + target.n);
        macro = new_macro((Macro){.has_body = true, .body = body, .is_primitive = true});
    }
    return named(names, name, macro, at + 1 + target.n);
}

// The signature of \NewDocumentCommand if it has only `O{...}` in front and `m`; its end, or MISSING.
static i32 read_simple_letters(Text text, i32 at, Macro* macro) {
    at = skip(text, at, SPACE);
    if (byte_at(text, at) != '{') return MISSING;
    at = skip(text, at + 1, SPACE);
    if (byte_at(text, at) == 'O') {
        i32 brace = skip(text, at + 1, SPACE), end = brace + 1;
        if (byte_at(text, brace) != '{') return MISSING;
        while (end < text.n && text.bytes[end] != '{' && text.bytes[end] != '}') end++;
        if (byte_at(text, end) != '}') return MISSING;
        macro->has_default = true;
        macro->default_value = part(text, brace + 1, end);
        macro->n_args = 1;
        at = skip(text, end + 1, SPACE);
    }
    for (; byte_at(text, at) == 'm'; at = skip(text, at + 1, SPACE)) macro->n_args++;
    return byte_at(text, at) == '}' && macro->n_args <= MAX_ARGUMENTS ? at + 1 : MISSING;
}

static Definition read_document_command(Names* names, Groups* groups, Text name, i32 at) {
    Argument signature = group_at(groups, at);
    Argument body = signature.end == MISSING ? signature : group_at(groups, signature.end);
    if (body.end == MISSING) return NONE;
    Macro macro = {.has_body = true, .body = strip(body.content)};
    macro.letters = read_letters(signature.content, &macro.n_letters);
    return named(names, name, new_macro(macro.letters ? macro : (Macro){0}), body.end);
}

// `\def` from its parameters on.
static Definition read_def(Names* names, Groups* groups, Text name, i32 at) {
    Text text = groups->text;
    i32 start = skip(text, at, SPACE), end = start;
    while (byte_at(text, end) == '#' && is_kind(byte_at(text, end + 1), DIGIT) && text.bytes[end + 1] != '0')
        end += 2;
    i32 brace = skip(text, end, SPACE);
    if (byte_at(text, brace) != '{') {  // delimited parameters: the body begins at the next brace
        i32 limit = at + 200 < text.n ? at + 200 : text.n;
        brace = find_byte(part(text, 0, limit), at, '{');
        i32 behind = brace == MISSING ? MISSING : group_end(groups, brace);
        if (behind == MISSING) return NONE;
        Text body = part(text, brace + 1, behind - 1), delimited = part(text, at, brace);
        return named(names, name, new_macro((Macro){.has_body = true, .body = body, .delimited = delimited}),
                     behind);
    }
    Argument body = group_at(groups, end);
    if (body.end == MISSING) return NONE;
    i32 n_args = (end - start) / 2;
    if (n_args > MAX_ARGUMENTS) return named(names, name, new_macro((Macro){0}), body.end);
    return named(names, name,
                 new_macro((Macro){.n_args = n_args, .has_body = true, .body = trimmed(body.content)}),
                 body.end);
}

Definition read_definition(Names* names, Groups* groups, Defining defining) {
    Text text = groups->text;
    enum Definer definer = defining.definer;
    i32 at = defining.end;
    if (definer == ENVIRONMENT) return read_environment(names, groups, at);
    Text name = defined_name(text, &at);
    if (!name.n) return NONE;
    if (definer == LET) return read_let(names, text, name, at);
    if (definer == DEF) return read_def(names, groups, name, at);
    if (definer == PAIRED) return read_paired(names, groups, name, at);
    Macro macro = {.has_body = true};
    if (definer == XPARSE) {
        i32 end = read_simple_letters(text, at, &macro);
        if (end == MISSING) return read_document_command(names, groups, name, at);
        at = end;
    } else if (definer != OPERATOR) {
        at = read_signature(groups, at, &macro);
    }
    Argument body = group_at(groups, at);
    if (body.end == MISSING) return NONE;
    bool exists = definer == PROVIDECOMMAND && (is_known(names, name) || is_among(name, OF_LATEX));
    if (exists) return (Definition){.end = body.end};
    if (definer == OPERATOR) {
        bool has_star = byte_at(text, defining.end) == '*';
        Text pieces[3] = {has_star ? TEXT("\\operatorname*{") : TEXT("\\operatorname{"), strip(body.content),
                          TEXT("}")};
        macro.body = join(&kept, pieces, 3);
        return named(names, name, new_macro(macro), body.end);
    }
    // A redefined command of LaTeX stays if only TeX can read its body: its name says more.
    if (definer == RENEWCOMMAND && !is_known(names, name) && needs_tex(body.content))
        return (Definition){.end = body.end};
    macro.body = trimmed(body.content);
    return named(names, name, new_macro(macro), body.end);
}

Macro* macro_from_expl(const Macro* macro) {
    Macro* made = new_macro(*macro);
    if (macro->has_body) made->body = strip(as_latex(macro->body));
    made->plain = 0;
    made->verdict = UNKNOWN;
    made->kind = MACRO;
    return made;
}

bool same_macro(const Macro* one, const Macro* other) {
    if (one == other) return true;
    if (!one || !other || one->n_args != other->n_args || one->has_default != other->has_default ||
        one->has_body != other->has_body || one->is_primitive != other->is_primitive ||
        one->n_letters != other->n_letters || !equal(one->default_value, other->default_value) ||
        !equal(one->body, other->body) || !equal(one->delimited, other->delimited))
        return false;
    for (i32 n = 0; n < one->n_letters; n++) {
        const Letter *here = &one->letters[n], *there = &other->letters[n];
        if (here->letter != there->letter || here->opening != there->opening ||
            here->closing != there->closing || !equal(here->default_value, there->default_value))
            return false;
    }
    return true;
}
