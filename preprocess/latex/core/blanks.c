// Where the body begins and ends, and which blanks and other characters are superfluous.
#include "passes.h"

#include <wasm_simd128.h>

static i32 control_character(Text text, i32 at) {
    const v128_t blank = wasm_i8x16_splat(' '), tab = wasm_i8x16_splat('\t'),
                 line_end = wasm_i8x16_splat('\n'), del = wasm_i8x16_splat(0x7F);
    for (; at + 16 <= text.n; at += 16) {
        v128_t here = wasm_v128_load(text.bytes + at);
        v128_t is_kept = wasm_v128_or(wasm_i8x16_eq(here, tab), wasm_i8x16_eq(here, line_end));
        v128_t is_control = wasm_v128_or(wasm_v128_andnot(wasm_u8x16_lt(here, blank), is_kept),
                                         wasm_i8x16_eq(here, del));
        if (wasm_v128_any_true(is_control)) return at + __builtin_ctz(wasm_i8x16_bitmask(is_control));
    }
    for (; at < text.n; at++) {
        u8 byte = text.bytes[at];
        if ((byte < ' ' && byte != '\t' && byte != '\n') || byte == 0x7F) return at;
    }
    return MISSING;
}

Text strip_control_characters(Text text, i64* removed) {
    i32 at = control_character(text, 0);
    if (at == MISSING) return text;
    Buffer out = {0};
    i32 done = 0;
    for (; at != MISSING; at = control_character(text, done)) {
        append(&out, part(text, done, at));
        done = at + 1;
    }
    append(&out, part(text, done, text.n));
    removed[CONTROL_CHARACTERS] += text.n - out.n;
    return text_of(&out);
}

// Keeps one blank of several, none at either end of a line, and one empty line between paragraphs.
Text tidy_blanks(Text text, i64* removed) {
    Text inner = strip(text);
    u8* bytes = allocate((i64)inner.n + 32);
    i32 n = 0, n_line_ends = 0;
    u8 last = 'x';  // the byte before, whether it was kept or not
    const v128_t blank = wasm_i8x16_splat(' '), tab = wasm_i8x16_splat('\t'),
                 line_end = wasm_i8x16_splat('\n');
    for (i32 at = 0; at < inner.n;) {
        if (at && at + 17 <= inner.n) {
            // Sixteen bytes in which nothing is superfluous are copied at once.
            v128_t here = wasm_v128_load(inner.bytes + at), before = wasm_v128_load(inner.bytes + at - 1);
            v128_t ends_line = wasm_i8x16_eq(here, line_end), is_tab = wasm_i8x16_eq(here, tab);
            v128_t is_blank = wasm_v128_or(wasm_i8x16_eq(here, blank), is_tab);
            v128_t was_blank = wasm_v128_or(wasm_i8x16_eq(before, blank), wasm_i8x16_eq(before, tab));
            v128_t was_line_end = wasm_i8x16_eq(before, line_end),
                   was_either = wasm_v128_or(was_blank, was_line_end);
            v128_t meets =
                wasm_v128_or(wasm_v128_and(is_blank, was_either), wasm_v128_and(ends_line, was_either));
            if (!wasm_v128_any_true(wasm_v128_or(meets, is_tab))) {
                wasm_v128_store(bytes + n, here);
                n += 16;
                at += 16;
                last = inner.bytes[at - 1];
                n_line_ends = last == '\n';
                continue;
            }
        }
        i32 end = at + 16 < inner.n ? at + 16 : inner.n;
        for (; at < end; at++) {
            u8 byte = inner.bytes[at] == '\t' ? ' ' : inner.bytes[at];
            bool is_superfluous = byte == ' ' && (last == ' ' || last == '\n');
            last = byte;
            if (is_superfluous) continue;
            if (byte == '\n') {
                if (n && bytes[n - 1] == ' ') n--;
                if (n_line_ends++ >= 2) continue;
            } else if (byte != ' ') {
                n_line_ends = 0;
            }
            bytes[n++] = byte;
        }
    }
    bytes[n++] = '\n';
    removed[WHITE_SPACE] += text.n - n;
    return (Text){bytes, n};
}

// ---------------------------------------------------------------- the body

static const Text BEGIN = {(const u8*)"\\begin{document}", 16}, END = {(const u8*)"\\end{document}", 14};

// Behind `{ document }`; MISSING where there is none.
static i32 document_group_end(Text text, i32 at) {
    at = skip(text, at, SPACE);
    if (byte_at(text, at) != '{') return MISSING;
    at = skip(text, at + 1, SPACE);
    if (!starts_with(text, at, TEXT("document"))) return MISSING;
    at = skip(text, at + 8, SPACE);
    return byte_at(text, at) == '}' ? at + 1 : MISSING;
}

// \document and \enddocument are AmSTeX's; plain TeX has neither, and no preamble.
static i32 opening_end(Text text, i32 at) {
    if (starts_with(text, at, TEXT("\\begin"))) return document_group_end(text, at + 6);
    bool is_amstex = starts_with(text, at, TEXT("\\document")) && !is_letter(byte_at(text, at + 9));
    return is_amstex ? at + 9 : MISSING;
}

static bool is_closing(Text text, i32 at) {
    if (starts_with(text, at, TEXT("\\end")) && document_group_end(text, at + 4) != MISSING) return true;
    if (starts_with(text, at, TEXT("\\enddocument")) && !is_letter(byte_at(text, at + 12))) return true;
    if (starts_with(text, at, TEXT("\\bye")) && !is_letter(byte_at(text, at + 4))) return true;
    return starts_with(text, at, TEXT("\\end")) && skip(text, at + 4, SPACE) == text.n;
}

// The body of a text without comments, and its preamble; counts the bytes outside the body as removed.
Text split_document(Text text, Text* preamble, i64* removed) {
    i32 at = find(text, 0, BEGIN), end = MISSING;
    *preamble = (Text){0};
    for (at = at == MISSING ? 0 : at; (at = find_byte(text, at, '\\')) != MISSING; at++) {
        end = opening_end(text, at);
        if (end == MISSING) continue;
        *preamble = part(text, 0, at);
        text = part(text, end, text.n);
        removed[PREAMBLE] += end;
        break;
    }
    i32 last = text.n - END.n;
    while (last >= 0 && !starts_with(text, last, END)) last--;
    last = last < 0 ? MISSING : last;
    for (at = 0; last == MISSING && (at = find_byte(text, at, '\\')) != MISSING; at++)
        if (is_closing(text, at)) last = at;
    if (last == MISSING) return text;
    removed[AFTER_END_DOCUMENT] += text.n - last;
    return part(text, 0, last);
}
