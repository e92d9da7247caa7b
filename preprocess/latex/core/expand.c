// Expands the author's macros, in the order in which TeX meets them.
//
// A body is expanded once and kept as a template. A macro inside its own body stays
// (`\renewcommand{\vec}[1]{\mathbf{\vec #1}}`). Output and work are limited in proportion to the size of the
// document: beyond the limits the remaining uses stay and are counted.
#include "expand.h"

static const char DEFINER_NAMES[] =
    " newcommand renewcommand providecommand DeclareRobustCommand NewDocumentCommand RenewDocumentCommand"
    " ProvideDocumentCommand DeclareDocumentCommand NewExpandableDocumentCommand"
    " DeclareExpandableDocumentCommand def gdef edef xdef DeclareMathOperator newmathop newenvironment"
    " renewenvironment provideenvironment DeclarePairedDelimiter let long global protected outer ";
static Macro definer = {.kind = DEFINER}, edge = {.kind = EDGE};

static void define(Expander* x, Name* name, Macro* macro) {
    if (!name->macro) name->born = x->names.n_macros++;
    name->macro = macro;
}

static void define_edges(Expander* x) {
    define(x, make_name(&x->names, TEXT("\\begin"), TEXT("")), &edge);
    define(x, make_name(&x->names, TEXT("\\end"), TEXT("")), &edge);
}

static bool is_environment(Text name) {
    return starts_with(name, 0, TEXT("\\begin{")) || starts_with(name, 0, TEXT("\\end{"));
}

void begin_document(Expander* x, i64 n_bytes) {
    // In bytes, proportional to the document with a minimum for short ones. No real paper comes near.
    *x = (Expander){
        .output_budget = 4 * n_bytes + (1 << 20), .work_budget = 16 * n_bytes + (4 << 20), .counts = true};
    const u8* at = (const u8*)DEFINER_NAMES;
    while (at[0] && at[1]) {
        i32 n = 0;
        while (at[1 + n] != ' ') n++;
        define(x, make_name(&x->names, TEXT("\\"), (Text){at + 1, n}), &definer);
        at += 1 + n;
    }
}

void learn(Expander* x, Text text) {
    Groups groups = groups_of(text);
    i32 region_end = MISSING, region = next_expl_region(text, 0, &region_end), done = 0;
    Defining defining;
    for (i32 at = 0; (at = find_definer(text, at, &defining)) != MISSING;) {
        i32 start = at;
        at = defining.end;
        if (start < done) continue;
        Definition read = read_definition(&x->names, &groups, defining);
        if (read.end == MISSING) continue;
        done = read.end;
        while (region != MISSING && start >= region_end)
            region = next_expl_region(text, region_end, &region_end);
        bool is_expl = region != MISSING && start > region;
        for (i32 n = 0; n < read.n; n++)
            define(x, read.name[n], is_expl ? macro_from_expl(read.macro[n]) : read.macro[n]);
        if (defining.definer == ENVIRONMENT && read.n) define_edges(x);
    }
    free_groups(&groups);
    x->age++;
}

Text without_expl_regions(Expander* x, Text text) {
    Rewriter out = rewriter_of(text);
    i32 end = 0;
    for (i32 start; (start = next_expl_region(text, end, &end)) != MISSING;) {
        learn(x, part(text, start, end));
        cut(&out, start, end, EXPL_REGIONS);
    }
    Text rest = finish(&out);
    for (int n = 0; n < N_CAUSES; n++) x->removed[n] += out.removed[n];
    return rest;
}

// Learns the definition at `start`; returns the offset behind it, MISSING where it cannot be read. The text
// of the document stays; any other text is gone when its use has been carried out.
i32 define_at(Expander* x, Groups* groups, i32 start, bool is_outermost) {
    Defining defining = definer_at(groups->text, start);
    if (defining.definer == NO_DEFINER) return MISSING;
    Definition read = read_definition(&x->names, groups, defining);
    for (i32 n = 0; n < read.n; n++) {
        Name* name = read.name[n];
        Macro* macro = read.macro[n];
        if (name->macro && same_macro(name->macro, macro)) continue;
        if (!is_outermost && !(defining.definer == LET && !macro->is_primitive)) {
            macro->body = take_copy(&kept, macro->body);
            macro->default_value = take_copy(&kept, macro->default_value);
            macro->delimited = take_copy(&kept, macro->delimited);
        }
        define(x, name, macro);
        x->age++;
        if (is_environment(name->name)) define_edges(x);
    }
    return read.end;
}

// ---------------------------------------------------------------- the pass over a text

// The name of the end of an environment whose \begin or \end has been read; `end`: the offset behind it.
static Name* edge_name(Expander* x, Name* command, Text text, i32* end) {
    i32 brace = skip(text, *end, SPACE);
    if (byte_at(text, brace) != '{') return 0;
    i32 at = brace + 1;
    for (; at < text.n; at++) {
        u8 byte = text.bytes[at];
        if (byte == '{' || byte == '}' || byte == '\\' || byte == '\n') break;
    }
    if (byte_at(text, at) != '}' || at == brace + 1) return 0;
    *end = at + 1;
    u8 start[64];
    Text edge_command = command->name;
    if (edge_command.n > 60) return 0;
    copy(start, edge_command.bytes, edge_command.n);
    start[edge_command.n] = '{';
    return find_name(&x->names, (Text){start, edge_command.n + 1}, strip(part(text, brace + 1, at)));
}

// Marks the commands that are defined somewhere in `text`.
static void mark_wanted(Expander* x, Text text) {
    Defining defining;
    for (i32 at = 0; (at = find_definer(text, at, &defining)) != MISSING; at++) {
        i32 name_at = defining.end;
        if (defining.definer == ENVIRONMENT) {
            make_name(&x->names, TEXT("\\begin"), TEXT(""))->is_wanted = true;
            make_name(&x->names, TEXT("\\end"), TEXT(""))->is_wanted = true;
        } else {
            Text name = defined_name(text, &name_at);
            if (name.n) make_name(&x->names, TEXT("\\"), name)->is_wanted = true;
        }
    }
}

// The command at a backslash if it may be a macro, and the offset behind it; NULL if it is none.
static Name* candidate(const Expander* x, Text text, i32 start, i32 n_known, bool is_outermost, i32* end) {
    if (!may_be_known(&x->names, text, start)) {
        *end = is_outermost ? start + 1 : command_end(text, start);
        return 0;
    }
    Name* name = command_at(&x->names, text, start, end);
    if (!name) return 0;
    return (name->macro && name->born < n_known) || (is_outermost && name->is_wanted) ? name : 0;
}

// Where the next candidate may begin. In the text of a macro each command is looked at, because where one
// ends decides where the next begins.
static i32 next_candidate(const Expander* x, Text text, i32 at, bool is_outermost) {
    return is_outermost ? find_beginning(x->names.beginnings, text, at) : find_byte(text, at, '\\');
}

static void leave_rest(Expander* x, Text text, i32 at, i32 n_known) {
    for (i32 end; (at = next_candidate(x, text, at, true)) != MISSING; at++) {
        Name* name = candidate(x, text, at, n_known, true, &end);
        if (name && !equal(name->name, TEXT("\\begin")) && !equal(name->name, TEXT("\\end"))) leave(x, name);
    }
}

// `text` with macros expanded: in `scratch`, or for the whole document (`is_outermost`) in a buffer.
Text expand_text(Expander* x, Text text, bool is_outermost) {
    i32 n_known = x->names.n_macros, end, start = 0;
    Name* name = 0;
    for (; (start = next_candidate(x, text, start, is_outermost)) != MISSING;
         start = is_outermost ? start + 1 : end) {
        name = candidate(x, text, start, n_known, is_outermost, &end);
        if (name || end == MISSING) break;
    }
    if (!name) return text;
    x->work_budget -= text.n;
    Groups groups = groups_of(text);
    Rewriter out = rewriter_of(text);
    i32 live = 0;  // a command ends here: whether the next one is escaped is known
    i32 next = start;
    while ((start = next_candidate(x, text, next, is_outermost)) != MISSING) {
        name = candidate(x, text, start, n_known, is_outermost, &end);
        if (end == MISSING) break;
        next = is_outermost ? start + 1 : end;
        Macro* macro = name ? name->macro : 0;
        if (!macro || start < live || start < out.at) continue;
        if (start && text.bytes[start - 1] == '\\' && start != live && is_escaped(text, start)) {
            live = start + 1;
            continue;
        }
        live = end;
        Arena mark = scratch;
        Use use = {.end = MISSING};
        int behind = byte_at(text, end);
        Template* known = known_template(x, name);
        if (known && !macro->n_args && !known->is_incomplete && behind != '*' && behind != '{' &&
            macro->kind == MACRO && spend(x, known->literals[0].n)) {
            replace(&out, start, end, known->literals[0], MACRO_EXPANSION);
            x->n_replaced += x->counts;
            continue;
        }
        if (macro->kind == EDGE) {
            name = edge_name(x, name, text, &end);
            macro = name ? name->macro : 0;
            if (!macro) continue;
        } else if (macro->kind == DEFINER) {
            i32 definition = is_outermost ? define_at(x, &groups, start, true) : MISSING;
            if (definition != MISSING) cut(&out, start, definition, MACRO_DEFINITIONS);
            continue;
        } else if (behind == '*') {
            Name* starred = find_name(&x->names, name->name, TEXT("*"));
            if (starred && starred->macro) {
                name = starred;
                macro = name->macro;
                end++;
            }
        }
        if (spend(x, 0)) use = use_macro(x, name, macro, &groups, end);
        if (use.end != MISSING) {
            replace(&out, start, use.end, use.text, MACRO_EXPANSION);
            if (use.has_macros)
                leave(x, name);
            else
                x->n_replaced += x->counts;
        } else {
            leave(x, name);
        }
        back_to(&scratch, mark);
        if (use.end == MISSING && is_outermost && (x->n_uses > MAX_USES || x->output_budget < 0)) {
            leave_rest(x, text, start + 1, n_known);
            break;
        }
    }
    free_groups(&groups);
    Text expanded = finish(&out);
    if (is_outermost) {
        for (int n = 0; n < N_CAUSES; n++) x->removed[n] += out.removed[n];
    } else if (out.at) {
        expanded = take_copy(&scratch, expanded);
        free_buffer(&out.out);
    }
    return expanded;
}

Text expand(Expander* x, Text text) {
    mark_wanted(x, text);
    return expand_text(x, text, true);
}

// The five macros that stay most often, one a line; of equally many uses the first ones.
Text names_left(Expander* x) {
    Buffer lines = {0};
    for (int n = 0; n < 5 && x->n_left; n++) {
        Name* most = 0;
        for (i32 slot = 0; slot < x->names.n_slots; slot++) {
            Name* name = x->names.slots[slot];
            if (!name || !name->n_left) continue;
            bool is_more = !most || name->n_left > most->n_left ||
                           (name->n_left == most->n_left && name->left_order < most->left_order);
            if (is_more) most = name;
        }
        if (!most) break;
        append(&lines, most->name);
        append(&lines, TEXT("\n"));
        most->n_left = 0;
    }
    return text_of(&lines);
}
