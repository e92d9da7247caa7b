// Removes what only typesetting needs: layout commands, drawings, front matter, the bibliography.
#include "layout.h"

typedef struct {
    Text text;
    const Options* options;
    Groups groups;
    Rewriter out;
    ProseLayout layout;
    i64* removed;
    bool are_unclosed[2];                          // \topmatter, \comment
    i32* kept_ends;                                // offsets of \end of figures that stay, descending
    i32 n_kept_ends, room;
} Tidying;

// ---------------------------------------------------------------- commands

// Behind a command's star, [options] and {groups}, all directly behind it.
static i32 behind_arguments(Tidying* t, i32 at, Text name) {
    Text text = t->text;
    if (byte_at(text, at) == '*') at++;
    if (equal(name, TEXT("\\vskip")) || equal(name, TEXT("\\vspace"))) {
        i32 end = value_length_end(text, at);
        if (end != MISSING) return end;
    }
    for (int first; (first = byte_at(text, at)) == '{' || first == '[';) {
        Argument given = first == '[' ? option_at(&t->groups, at) : group_at(&t->groups, at);
        if (given.end == MISSING) break;
        at = given.end;
    }
    return at;
}

static void meet_pair(Tidying* t, i32 start, i32 end, const Name* name) {
    bool is_comment = name->cause == COMMENT_ENVIRONMENTS;
    Text closer = is_comment ? TEXT("\\endcomment") : TEXT("\\endtopmatter");
    if (t->are_unclosed[is_comment] || (!is_comment && !t->options->drops_front_matter)) return;
    i32 close = find(t->text, end, closer);
    if (close == MISSING)
        t->are_unclosed[is_comment] = true;
    else
        cut(&t->out, start, close + closer.n, name->cause);
}

// ---------------------------------------------------------------- environments

static bool is_picture(Text text, i32 at) {
    static const Text beginnings[] = {
        TEXT("\\includegraphics"),
        TEXT("\\epsf"),
        TEXT("\\psfig"),
        TEXT("\\epsfig"),
        TEXT("\\plotone"),
        TEXT("\\plottwo"),
        TEXT("\\special"),
        TEXT("\\input"),
        TEXT("\\include"),
        TEXT("\\pstext"),
        TEXT("\\unitlength"),
        TEXT("\\psset"),
        TEXT("\\tikz"),
        TEXT("\\xymatrix"),
        TEXT("\\asyinclude"),
    };
    for (u32 n = 0; n < sizeof beginnings / sizeof *beginnings; n++)
        if (starts_with(text, at, beginnings[n])) return true;
    if (starts_with(text, at, TEXT("\\put"))) return !is_letter(byte_at(text, at + 4));
    if (!starts_with(text, at, TEXT("\\begin"))) return false;
    i32 brace = skip(text, at + 6, SPACE);
    if (byte_at(text, brace) != '{') return false;
    i32 end = brace + 1;
    while (end < text.n && end < brace + 30 && text.bytes[end] != '}') end++;
    Name* name = byte_at(text, end) == '}' ? find_name(&layout_names, part(text, brace, end), TEXT("")) : 0;
    return name && name->cause == DRAWINGS;
}

static bool has_picture(Text text, i32 start, i32 end) {
    Text limited = part(text, 0, end);
    for (i32 at = start; (at = find_byte(limited, at, '\\')) != MISSING; at++)
        if (is_picture(limited, at)) return true;
    return false;
}

// Behind \caption, \captionof{table}, \tablecaption, \figcaption or \label, and its star.
static i32 caption_command_end(Text text, i32 at, bool* is_label) {
    i32 end;
    *is_label = starts_with(text, at, TEXT("\\label"));
    if (*is_label) {
        end = at + 6;
    } else if (starts_with(text, at, TEXT("\\caption"))) {
        end = at + 8;
        if (starts_with(text, end, TEXT("of"))) {
            i32 brace = skip(text, end + 2, SPACE),
                close = skip(text, brace + 1, LETTER | DIGIT | UNDERSCORE);
            if (byte_at(text, brace) == '{' && close > brace + 1 && byte_at(text, close) == '}')
                end = close + 1;
        }
    } else if (starts_with(text, at, TEXT("\\tablecaption"))) {
        end = at + 13;
    } else if (starts_with(text, at, TEXT("\\figcaption"))) {
        end = at + 11;
    } else {
        return MISSING;
    }
    if (byte_at(text, end) == '*' && !is_letter(byte_at(text, end + 1))) return end + 1;
    return is_letter(byte_at(text, end)) ? MISSING : end;
}

// The captions and labels between `start` and `end`, one on each line, in a buffer; empty without a caption.
static Text captions(Tidying* t, i32 start, i32 end) {
    Text limited = part(t->text, 0, end);
    Buffer kept = {0};
    bool has_caption = false, is_label;
    for (i32 at = start; (at = find_byte(limited, at, '\\')) != MISSING;) {
        i32 behind = caption_command_end(limited, at, &is_label);
        if (behind == MISSING) {
            at++;
            continue;
        }
        at = behind;
        Argument option = option_at(&t->groups, behind);
        Argument group = group_at(&t->groups, option.end == MISSING ? behind : option.end);
        if (group.end == MISSING || group.end > end) continue;
        has_caption = has_caption || (!is_label && strip(group.content).n);
        at = group.end;
        if (kept.n) append(&kept, TEXT("\n"));
        append(&kept, is_label ? TEXT("\\label{") : TEXT("\\caption{"));
        append(&kept, group.content);
        append(&kept, TEXT("}"));
    }
    return has_caption ? text_of(&kept) : (Text){0};
}

static int treatment_of(const Options* options, enum Cause cause) {
    switch (cause) {
        case FIGURES:
            return options->figures;
        case TABLES:
            return options->tables;
        case ALGORITHMS:
            return options->algorithms;
        case BIBLIOGRAPHY:
            return options->bibliography;
        case FRONT_MATTER:
            return options->drops_front_matter ? DROP : KEEP;
        default:
            return DROP;
    }
}

static void keep_end(Tidying* t, i32 at) {
    if (t->n_kept_ends == t->room) {
        i32 room = t->room ? 2 * t->room : 16;
        i32* ends = allocate(room * 4);
        for (i32 n = 0; n < t->n_kept_ends; n++) ends[n] = t->kept_ends[n];
        release(t->kept_ends, t->room * 4);
        t->kept_ends = ends;
        t->room = room;
    }
    i32 n = t->n_kept_ends++;
    for (; n && t->kept_ends[n - 1] < at; n--) t->kept_ends[n] = t->kept_ends[n - 1];
    t->kept_ends[n] = at;
}

static void meet_begin(Tidying* t, i32 start, i32 end, Name* name) {
    Text text = t->text;
    if (start < name->until) return;
    Text pieces[3] = {TEXT("\\end"), name->name, TEXT("}")};
    Text closer = join(&scratch, pieces, 3);
    i32 close = name->is_unclosed ? MISSING : find(text, end, closer);
    if (close == MISSING) {
        name->is_unclosed = true;
        return;
    }
    enum Cause cause = name->cause;
    bool keeps_captions = treatment_of(t->options, cause) == CAPTIONS;
    close += closer.n;
    if (cause == FIGURES && keeps_captions && !has_picture(text, end, close)) {
        keep_end(t, close - closer.n);  // a figure of text: code, inference rules, formulas
        name->until = close;
        return;
    }
    Text kept = keeps_captions ? captions(t, end, close) : (Text){0};
    if (!kept.n) {
        cut(&t->out, start, close, cause);
        return;
    }
    t->removed[cause] -= kept.n;  // layout in captions is counted under its own cause
    kept = drop_prose_layout(kept, t->removed);
    t->removed[cause] += kept.n;
    Text lines[5] = {part(text, start, end), TEXT("\n"), kept, TEXT("\n"), closer};
    replace(&t->out, start, close, join(&scratch, lines, 5), cause);
}

// The end of an environment that has not been removed with its beginning.
static void meet_end(Tidying* t, i32 start, i32 end, const Name* name) {
    while (t->n_kept_ends && t->kept_ends[t->n_kept_ends - 1] < start) t->n_kept_ends--;
    if (t->n_kept_ends && t->kept_ends[t->n_kept_ends - 1] == start) return;
    cut(&t->out, start, end, name->cause);  // an outer environment contained one of the same name
}

// ---------------------------------------------------------------- the pass

// Behind `\\` with its optional length at the end of a paragraph; MISSING if the paragraph goes on.
static i32 last_break_end(Text text, i32 at) {
    at += 2;
    if (byte_at(text, at) == '*') at++;
    i32 bracket = skip(text, at, BLANK);
    if (byte_at(text, bracket) == '[') {
        i32 end = bracket + 1;
        while (end < text.n && text.bytes[end] != '[' && text.bytes[end] != ']' && text.bytes[end] != '\n')
            end++;
        if (byte_at(text, end) == ']' && end - bracket - 1 <= 40) at = end + 1;
    }
    i32 next = skip(text, at, BLANK);
    if (next == text.n) return at;
    if (text.bytes[next] == '\n') {
        next = skip(text, next + 1, BLANK);
        if (next == text.n || text.bytes[next] == '\n') return at;
    }
    return starts_with(text, next, TEXT("\\par")) && !in_name(byte_at(text, next + 4)) ? at : MISSING;
}

// The name with a rule at a backslash, and the offset behind it.
static Name* rule_at(Tidying* t, i32 at, i32* end) {
    Text text = t->text;
    Name* name = command_at(&layout_names, text, at, end);
    if (!name) return 0;
    if (name->rule == NO_RULE) {  // \begin or \end
        i32 brace = skip(text, *end, SPACE);
        if (byte_at(text, brace) != '{') return 0;
        i32 close = brace + 1;
        while (close < text.n && close < brace + 30 && text.bytes[close] != '}') close++;
        if (byte_at(text, close) != '}') return 0;
        *end = close + 1;
        name = find_name(&layout_names, part(text, brace, close), TEXT(""));
        return name && treatment_of(t->options, name->cause) != KEEP ? name : 0;
    }
    return name->rule == REMOVED_COMMAND && treatment_of(t->options, name->cause) == KEEP ? 0 : name;
}

static void meet(Tidying* t, i32 start, i32 end, Name* name) {
    Text text = t->text;
    switch (name->rule) {
        case REMOVED_COMMAND:
            cut(&t->out, start, behind_arguments(t, end, name->name), name->cause);
            break;
        case REGISTER:
            if ((end = assignment_end(text, start, end)) != MISSING) cut(&t->out, start, end, LAYOUT);
            break;
        case PAIR:
            meet_pair(t, start, end, name);
            break;
        case TREATED_ENVIRONMENT:
            if (text.bytes[start + 1] == 'b')
                meet_begin(t, start, end, name);
            else
                meet_end(t, start, end, name);
            break;
        default:
            meet_command(&t->layout, start, end, name->rule);
    }
}

Text tidy_environments(Text text, const Options* options, i64* removed) {
    Tidying t = {.text = text, .options = options, .removed = removed};
    t.groups = groups_of(text);
    t.out = rewriter_of(text);
    t.layout = (ProseLayout){.groups = &t.groups, .out = &t.out, .mathematics = {.text = text}};
    for (i32 n = 0; n < layout_names.n_slots; n++)
        if (layout_names.slots[n]) layout_names.slots[n]->is_unclosed = layout_names.slots[n]->until = 0;
    for (i32 start = 0, end; (start = find_beginning(layout_names.beginnings, text, start)) != MISSING;
         start = end) {
        bool is_break = byte_at(text, start + 1) == '\\';
        Name* name = is_break ? 0 : rule_at(&t, start, &end);
        if (is_break) end = last_break_end(text, start);
        if (!name && (!is_break || end == MISSING)) {
            end = start + 1;
            continue;
        }
        advance_to(&t.layout, start);
        if (start < t.out.at || is_escaped(text, start)) continue;
        Arena mark = scratch;
        if (name)
            meet(&t, start, end, name);
        else
            meet_last_break(&t.layout, start, end);
        back_to(&scratch, mark);
    }
    advance_to(&t.layout, text.n);
    free_prose_layout(&t.layout);
    free_groups(&t.groups);
    release(t.kept_ends, t.room * 4);
    return finish_pass(&t.out, removed);
}
