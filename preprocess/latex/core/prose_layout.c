// Removes colours, sizes, skips, phantoms and `\par` from prose; in mathematics they stay as written.
//
// The text that a command prints (`text` in `\textcolor{red}{text}`) stays. A skip becomes a blank unless it
// only kerns, `\par` becomes an empty line, and a `\\` at the end of a paragraph is removed unless it ends a
// row of a table.
#include "layout.h"

// ---------------------------------------------------------------- lengths

i32 unit_end(Text text, i32 at) {
    const char units[] = "ptcmmminemexpcspbp";
    for (int n = 0; units[n]; n += 2)
        if (byte_at(text, at) == units[n] && byte_at(text, at + 1) == units[n + 1]) return at + 2;
    return MISSING;
}

static i32 number_end(Text text, i32 at) {
    while (is_kind(byte_at(text, at), DIGIT) || byte_at(text, at) == '.') at++;
    return at;
}

i32 stretch_end(Text text, i32 at) {
    for (;;) {
        i32 word = skip(text, at, SPACE), number = MISSING;
        if (starts_with(text, word, TEXT("plus"))) number = skip(text, word + 4, SPACE);
        if (starts_with(text, word, TEXT("minus"))) number = skip(text, word + 5, SPACE);
        if (number == MISSING) return at;
        i32 behind = number_end(text, number), unit = skip(text, behind, SPACE), end = unit;
        while (end < unit + 4 && is_kind(byte_at(text, end), LOWER)) end++;
        if (behind == number || end < unit + 2) return at;
        at = end;
    }
}

// Behind a number with a unit (`3 true pt`) at `at`; MISSING where there is none.
static i32 dimension_end(Text text, i32 at) {
    i32 behind = number_end(text, at);
    if (behind == at) return MISSING;
    behind = skip(text, behind, SPACE);
    i32 end = MISSING;
    if (starts_with(text, behind, TEXT("true"))) end = unit_end(text, skip(text, behind + 4, SPACE));
    return end == MISSING ? unit_end(text, behind) : end;
}

// Behind a length at `at`, with the blanks before it: blanks and one line end, or any white space.
i32 length_end(Text text, i32 at, bool allows_paragraph) {
    at = allows_paragraph ? skip(text, at, SPACE) : skip_blanks(text, at);
    if (byte_at(text, at) == '-') at++;
    return dimension_end(text, at);
}

// Kerning, not a space between words: below 0.2 em, 1 mm, 1 ex or 3 pt, or to the left.
static bool is_narrow(Text length) {
    i32 at = skip(length, 0, SPACE), zeros = at;
    if (byte_at(length, at) == '-') return true;
    while (byte_at(length, zeros) == '0') zeros++;
    if (byte_at(length, zeros) == '.') {
        int tenths = byte_at(length, zeros + 1);
        i32 end = skip(length, zeros + 1, DIGIT), unit = skip(length, end, SPACE);
        bool has_digits = end > zeros + 1;
        if ((tenths == '0' || tenths == '1') && starts_with(length, unit, TEXT("em"))) return true;
        if (has_digits && (starts_with(length, unit, TEXT("mm")) || starts_with(length, unit, TEXT("pt")) ||
                           starts_with(length, unit, TEXT("ex"))))
            return true;
    }
    int first = byte_at(length, at);
    if (first >= '0' && first <= '2') {
        i32 end = at + 1;
        if (byte_at(length, end) == '.' && is_kind(byte_at(length, end + 1), DIGIT))
            end = skip(length, end + 1, DIGIT);
        if (starts_with(length, skip(length, end, SPACE), TEXT("pt"))) return true;
    }
    int behind = byte_at(length, skip(length, at + 1, SPACE));
    return first == '0' && (is_kind(behind, LOWER) || behind == '\\');
}

// ---------------------------------------------------------------- mathematics

static const char FORMULAS[] =
    " equation align alignat flalign gather multline eqnarray displaymath math IEEEeqnarray dmath"
    " subequations xalignat xxalignat empheq dgroup darray ";

// Behind the beginning or end of a formula at `at`, and what it does to the depth; MISSING if it is none.
static i32 formula_edge_end(Text text, i32 at, i32* change) {
    int next = byte_at(text, at + 1);
    if (next == '(' || next == '[' || next == ')' || next == ']') {
        *change = next == '(' || next == '[' ? 1 : -1;
        return at + 2;
    }
    bool begins = starts_with(text, at, TEXT("\\begin{"));
    if (!begins && !starts_with(text, at, TEXT("\\end{"))) return MISSING;
    i32 start = at + (begins ? 7 : 5), end = skip(text, start, LETTER),
        close = end + (byte_at(text, end) == '*');
    if (byte_at(text, close) != '}' || !is_among(part(text, start, end), FORMULAS)) return MISSING;
    *change = begins ? 1 : -1;
    return close + 1;
}

static void pass_dollars(Mathematics* m, i32 n) {
    if (m->depth) return;  // $x$ in the \text of a displayed formula
    if (!m->dollars)
        m->dollars = n;
    else if (n == m->dollars || m->dollars == 2)
        m->dollars = 0;  // in `$x$$y$` the two signs close one formula and open the next
}

bool in_mathematics(Mathematics* m, i32 limit) {
    Text text = part(m->text, 0, limit);
    for (i32 at = limit - 2; at >= m->at; at--) {
        if (text.bytes[at] != '\n' || text.bytes[at + 1] != '\n') continue;
        m->at = at + 2;
        m->dollars = m->depth = 0;
        break;
    }
    for (i32 at = m->at; at < limit;) {
        u8 byte = text.bytes[at];
        i32 change, end;
        if (byte == '$') {
            end = at + (byte_at(text, at + 1) == '$' ? 2 : 1);
            if (!is_escaped(text, at)) pass_dollars(m, end - at);
            at = end;
        } else if (byte == '\\' && (end = formula_edge_end(text, at, &change)) != MISSING) {
            if (!is_escaped(text, at)) m->depth = m->depth + change > 0 ? m->depth + change : 0;
            at = end;
        } else {
            at++;
        }
    }
    if (limit > m->at) m->at = limit;
    return m->dollars || m->depth > 0;
}

// ---------------------------------------------------------------- commands

// The edits that remove a command in [start, end); none if its arguments cannot be read.
static int edits_of(Groups* groups, i32 start, i32 end, enum Rule rule, Edit* edits) {
    Text text = groups->text, blank = TEXT(" "), nothing = TEXT("");
    edits[0] = (Edit){start, end, nothing, false};
    switch (rule) {
        case PARAGRAPH:
            edits[0].new = TEXT("\n\n");
            return 1;
        case WITHOUT_ARGUMENTS:
            edits[0].is_cut = true;
            return 1;
        case HFILL:
            edits[0].new = blank;
            return 1;
        case HSKIP: {
            i32 behind = length_end(text, end, true);
            if (behind == MISSING || is_kind(byte_at(text, behind), LOWER)) return 0;
            edits[0] = (Edit){start, stretch_end(text, behind), blank, false};
            return 1;
        }
        case HSPACE: {
            Argument group = group_at(groups, end + (byte_at(text, end) == '*'));
            if (group.end == MISSING) return 0;
            edits[0] = (Edit){start, group.end, is_narrow(group.content) ? nothing : blank, false};
            return 1;
        }
        default:
            break;
    }
    Argument option = option_at(groups, end);
    if (option.end != MISSING) end = option.end;
    for (int n = 0; n < (rule == TWO_GROUPS ? 2 : 1); n++) {
        Argument argument = group_at(groups, end);
        if (argument.end == MISSING) return 0;
        end = argument.end;
    }
    edits[0] = (Edit){start, end, nothing, true};
    if (rule != COLOURED) return 1;
    Argument printed = group_at(groups, end);
    if (printed.end == MISSING) return 0;
    // Two edits, so that the text between them is read like any other.
    edits[0] = (Edit){start, (i32)(printed.content.bytes - text.bytes), nothing, false};
    edits[1] = (Edit){printed.end - 1, printed.end, nothing, false};
    return 2;
}

static void apply(ProseLayout* layout, Edit edit) {
    if (edit.is_cut)
        cut(layout->out, edit.start, edit.end, PROSE_LAYOUT);
    else
        replace(layout->out, edit.start, edit.end, edit.new, PROSE_LAYOUT);
}

static void wait(ProseLayout* layout, Edit edit) {
    if (layout->n_waiting == layout->room) {
        i32 room = layout->room ? 2 * layout->room : 16;
        Edit* waiting = allocate(room * (i64)sizeof(Edit));
        for (i32 n = 0; n < layout->n_waiting; n++) waiting[n] = layout->waiting[n];
        release(layout->waiting, layout->room * (i64)sizeof(Edit));
        layout->waiting = waiting;
        layout->room = room;
    }
    i32 at = layout->n_waiting++;
    for (; at && layout->waiting[at - 1].start < edit.start; at--)
        layout->waiting[at] = layout->waiting[at - 1];
    layout->waiting[at] = edit;
}

// Removes the command in [start, end) unless it is part of a formula.
void meet_command(ProseLayout* layout, i32 start, i32 end, enum Rule rule) {
    if (in_mathematics(&layout->mathematics, start)) return;
    Edit edits[2];
    int n = edits_of(layout->groups, start, end, rule, edits);
    if (n) apply(layout, edits[0]);
    if (n == 2) wait(layout, edits[1]);
}

void advance_to(ProseLayout* layout, i32 at) {
    while (layout->n_waiting && layout->waiting[layout->n_waiting - 1].start < at) {
        Edit edit = layout->waiting[--layout->n_waiting];
        if (edit.start >= layout->out->at) apply(layout, edit);
    }
}

void free_prose_layout(ProseLayout* layout) { release(layout->waiting, layout->room * (i64)sizeof(Edit)); }

// ---------------------------------------------------------------- `\\` at the end of a paragraph

static bool holds_table_word(Text name) {
    const Text words[] = {TEXT("tab"), TEXT("array"), TEXT("matrix"), TEXT("align"), TEXT("alg")};
    for (int n = 0; n < 5; n++)
        for (i32 at = 0; at < name.n; at++)
            if (starts_with(name, at, words[n])) return true;
    return is_among(name, " split cases verse ");
}

// Behind the \begin or \end of a table at `at`, and the change of the number of open tables.
static i32 table_edge_end(Text text, i32 at, i32* change) {
    bool begins = starts_with(text, at, TEXT("\\begin"));
    if (!begins && !starts_with(text, at, TEXT("\\end"))) return MISSING;
    i32 brace = skip(text, at + (begins ? 6 : 4), SPACE), end = skip(text, brace + 1, LETTER);
    i32 close = end + (byte_at(text, end) == '*');
    if (byte_at(text, brace) != '{' || byte_at(text, close) != '}') return MISSING;
    if (!holds_table_word(part(text, brace + 1, end))) return MISSING;
    *change = begins ? 1 : -1;
    return close + 1;
}

static bool has_cell(Text text, i32 start) {
    i32 line = start;
    while (line && line > start - 500 && text.bytes[line - 1] != '\n') line--;
    for (i32 at = line; at < start; at++)
        if (text.bytes[at] == '&' && (at == line || text.bytes[at - 1] != '\\')) return true;
    return false;
}

// Removes the `\\` in [start, end) at the end of a paragraph, except in formulas and tables.
void meet_last_break(ProseLayout* layout, i32 start, i32 end) {
    Text text = layout->groups->text, before = part(text, 0, start);
    for (i32 at = layout->tables_until; (at = find_byte(before, at, '\\')) != MISSING;) {
        i32 change, behind = table_edge_end(before, at, &change);
        if (behind != MISSING)
            layout->open_tables = layout->open_tables + change > 0 ? layout->open_tables + change : 0;
        at = behind == MISSING ? at + 1 : behind;
    }
    layout->tables_until = start;
    if (!layout->open_tables && !has_cell(text, start) && !in_mathematics(&layout->mathematics, start))
        cut(layout->out, start, end, PROSE_LAYOUT);
}

// A caption without layout commands in its prose.
Text drop_prose_layout(Text caption, i64* removed) {
    Groups groups = groups_of(caption);
    Rewriter out = rewriter_of(caption);
    ProseLayout layout = {.groups = &groups, .out = &out, .mathematics = {.text = caption}};
    for (i32 start = 0, end; (start = find_byte(caption, start, '\\')) != MISSING; start = end) {
        Name* name = command_at(&layout_names, caption, start, &end);
        if (!name || name->rule < WITHOUT_ARGUMENTS) {
            end = start + 1;
            continue;
        }
        advance_to(&layout, start);
        if (start >= out.at && !is_escaped(caption, start)) meet_command(&layout, start, end, name->rule);
    }
    advance_to(&layout, caption.n);
    free_prose_layout(&layout);
    free_groups(&groups);
    return finish_pass(&out, removed);
}
