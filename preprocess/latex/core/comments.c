// Removes comments, and replaces verbatim text by placeholders that no later pass reads.
#include "passes.h"

static Text store(Placeholders* verbatim, Text piece) {
    if (verbatim->n == verbatim->room) {
        i32 room = verbatim->room ? 2 * verbatim->room : 64;
        Text* pieces = allocate((i64)room * (i64)sizeof(Text));
        for (i32 n = 0; n < verbatim->n; n++) pieces[n] = verbatim->pieces[n];
        release(verbatim->pieces, (i64)verbatim->room * (i64)sizeof(Text));
        verbatim->pieces = pieces;
        verbatim->room = room;
    }
    u8 digits[16], *first = digits + sizeof digits;
    *--first = 0;
    i32 number = verbatim->n;
    do *--first = (u8)('0' + number % 10);
    while (number /= 10);
    *--first = 0;
    verbatim->pieces[verbatim->n++] = piece;
    return take_copy(&scratch, (Text){first, (i32)(digits + sizeof digits - first)});
}

// Cuts each comment in [at, end), where nothing is verbatim: with its line end and the blanks of the next
// line, which TeX skips, together with following lines that hold only a comment. An empty line after it
// stays, because it ends the paragraph.
static void cut_comments(Rewriter* out, i32 at, i32 end) {
    Text text = part(out->text, 0, end);
    while ((at = find_byte(text, at, '%')) != MISSING) {
        if (is_escaped(text, at)) {
            at++;
            continue;
        }
        i32 start = at;
        for (;;) {
            at = find_byte(text, at, '\n');
            if (at == MISSING) {
                at = end;
                break;
            }
            i32 next = skip(text, at + 1, BLANK);
            if (byte_at(text, next) == '%') {
                at = next;
                continue;
            }
            if (byte_at(text, next) != '\n') at = next;
            break;
        }
        replace(out, start, at, TEXT(""), COMMENTS);
    }
}

// `text` without comments and `comment` environments, with its verbatim text stored.
Text strip_comments(Text text, Placeholders* verbatim, i64* removed) {
    Lexer lexer = lexer_of(text);
    read_own_environments(&lexer);
    Rewriter out = rewriter_of(text);
    i32 at = 0;
    for (Event event; (event = next_event(&lexer)).kind != NO_EVENT; at = event.end) {
        cut_comments(&out, at, event.start);
        if (event.kind == URL) continue;
        Text piece = part(text, event.start, event.end);
        if (event.environment && event.environment->rule == EXCLUDED) {
            cut(&out, event.start, event.end, COMMENT_ENVIRONMENTS);
        } else {
            Arena mark = scratch;
            replace(&out, event.start, event.end, store(verbatim, piece), VERBATIM);
            back_to(&scratch, mark);
        }
    }
    cut_comments(&out, at, text.n);
    return finish_pass(&out, removed);
}

// `text` with the stored pieces in place of their placeholders. A piece whose placeholder was removed stays
// counted as removed.
Text restore(Text text, const Placeholders* verbatim, i64* removed) {
    if (!verbatim->n) return text;
    Buffer out = {0};
    i32 done = 0;
    for (i32 at = 0; (at = find_byte(text, at, 0)) != MISSING;) {
        i32 end = skip(text, at + 1, DIGIT), number = 0;
        bool is_mark = end > at + 1 && end - at < 10 && byte_at(text, end) == 0;
        for (i32 digit = at + 1; is_mark && digit < end; digit++)
            number = 10 * number + text.bytes[digit] - '0';
        if (!is_mark || number >= verbatim->n) {
            at++;
            continue;
        }
        append(&out, part(text, done, at));
        append(&out, verbatim->pieces[number]);
        removed[VERBATIM] -= verbatim->pieces[number].n - (end + 1 - at);
        done = at = end + 1;
    }
    append(&out, part(text, done, text.n));
    return text_of(&out);
}
