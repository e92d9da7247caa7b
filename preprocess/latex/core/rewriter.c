// Builds a new text from an old one, from left to right, and counts what is removed by cause.
#include "core.h"

static void put(Rewriter* out, Text piece) {
    if (!piece.n) return;
    out->last_piece = out->out.n;
    append(&out->out, piece);
}

static bool meets_control_word(const Rewriter* out) {
    return out->last_piece != MISSING &&
           ends_in_control_word(part(text_of(&out->out), out->last_piece, out->out.n));
}

// Puts `new` in place of [start, end), with a blank where a control word would meet a letter.
void replace(Rewriter* out, i32 start, i32 end, Text new, enum Cause cause) {
    if (start > out->at) put(out, part(out->text, out->at, start));
    bool follows_letter = is_letter(byte_at(out->text, end));
    bool is_blank_before = (new.n ? is_letter(new.bytes[0]) : follows_letter) && meets_control_word(out);
    i32 n_before = out->out.n;
    if (is_blank_before) append(&out->out, TEXT(" "));
    append(&out->out, new);
    if (follows_letter && ends_in_control_word(new)) append(&out->out, TEXT(" "));
    if (out->out.n > n_before) out->last_piece = n_before;
    out->removed[cause] += end - start - (out->out.n - n_before);
    out->at = end;
}

// Leaves out [start, end), and the line end as well if nothing else is on the line: an empty line would start
// a paragraph that the author did not write.
void cut(Rewriter* out, i32 start, i32 end, enum Cause cause) {
    Text text = out->text;
    bool behind_text =
        start > out->at && text.bytes[start - 1] != '\n' && !is_kind(text.bytes[start - 1], BLANK);
    i32 rest = behind_text ? MISSING : skip(text, end, BLANK);
    if (rest != MISSING && (rest == text.n || text.bytes[rest] == '\n')) {
        i32 before = start;
        while (before > out->at && is_kind(text.bytes[before - 1], BLANK)) before--;
        bool at_line_start = before > out->at ? text.bytes[before - 1] == '\n' : out->last_piece == MISSING;
        if (before == out->at && out->last_piece != MISSING) {
            i32 last = out->out.n;
            while (last > out->last_piece && is_kind(out->out.bytes[last - 1], BLANK)) last--;
            at_line_start = last > out->last_piece && out->out.bytes[last - 1] == '\n';
        }
        if (at_line_start) end = rest < text.n ? rest + 1 : rest;
    }
    replace(out, start, end, TEXT(""), cause);
}

Text finish(Rewriter* out) {
    if (!out->at) return out->text;
    append(&out->out, part(out->text, out->at, out->text.n));
    return text_of(&out->out);
}
