// Which bodies only TeX can carry out, because they test, define, assign or look ahead.
#include "macros.h"

static const char WHOLE[] = " def edef gdef xdef let fi else loop write read ";
static const char* const BEGINNINGS[] = {
    "csname",     "expandafter",     "futurelet",         "catcode",
    "newcommand", "renewcommand",    "providenewcommand", "begingroup",
    "aftergroup", "afterassignment", "advance",           "setbox",
    "pgfmath",    "openin",          "openout",           "uppercase",
    "lowercase",  "obeylines",       "everypar",
};

static bool begins(Text letters, const char* name) {
    i32 n = 0;
    while (name[n] && n < letters.n && letters.bytes[n] == (u8)name[n]) n++;
    return !name[n];
}

static bool command_needs_tex(Text text, i32 at) {
    i32 end = skip(text, at + 1, LETTER);
    Text letters = part(text, at + 1, end);
    int next = byte_at(text, end);
    if (next == '@') {
        bool is_operator_font = equal(letters, TEXT("operator")) && starts_with(text, end, TEXT("@font")) &&
                                !in_name(byte_at(text, end + 5));
        if (!is_operator_font) return true;
    }
    if (!letters.n) return false;
    if (letters.bytes[0] == 'i' && begins(letters, "if"))
        return skip(letters, 2, LOWER) == letters.n && letters.n >= 2 && !equal(letters, TEXT("iff"));
    if (letters.bytes[0] == 't') return next == '\\' && equal(letters, TEXT("the"));
    for (u32 n = 0; n < sizeof BEGINNINGS / sizeof *BEGINNINGS; n++)
        if (letters.bytes[0] == (u8)BEGINNINGS[n][0] && begins(letters, BEGINNINGS[n])) return true;
    return is_among(letters, WHOLE);
}

bool needs_tex(Text body) {
    for (i32 at = 0; (at = find_byte(body, at, '\\')) != MISSING; at++)
        if (command_needs_tex(body, at)) return true;
    for (i32 at = 0; (at = find_byte(body, at, '#')) != MISSING; at++)
        if (byte_at(body, at + 1) == '#' && (!at || body.bytes[at - 1] != '\\')) return true;
    return false;
}

// `\catcode` + a quoted character + `=12`, with the character in [character, end).
static i32 category_code_end(Text body, i32 end) {
    end = skip(body, end, SPACE);
    if (byte_at(body, end) == '=') end++;
    end = skip(body, end, SPACE);
    i32 behind = skip(body, end, DIGIT);
    if (behind == end) return MISSING;
    return is_space(byte_at(body, behind)) ? behind + 1 : behind;
}

static i32 category_end(Text body, i32 at) {
    at = skip(body, at, SPACE);
    if (byte_at(body, at) != '`') return MISSING;
    at++;
    if (byte_at(body, at) == '\\') at++;
    if (starts_with(body, at, TEXT("^^")) && at + 2 < body.n) {
        i32 end = category_code_end(body, at + 3);
        if (end != MISSING) return end;
    }
    return at < body.n ? category_code_end(body, at + 1) : MISSING;
}

static i32 write_end(Text body, i32 at) {
    at = skip(body, at, SPACE);
    i32 end;
    if (byte_at(body, at) == '\\') {
        end = skip(body, at + 1, LETTER | AT_SIGN);
        if (end == at + 1) return MISSING;
    } else {
        i32 digits = at + (byte_at(body, at) == '-');
        end = skip(body, digits, DIGIT);
        if (end == digits) return MISSING;
    }
    return shallow_group_end(body, skip(body, end, SPACE));
}

// The offset behind a part of a body that prints nothing: category codes, definitions of active characters,
// output to a file, and `\@`, which only changes the space behind a full stop.
static i32 silent_end(Text body, i32 at) {
    if (starts_with(body, at, TEXT("\\catcode"))) return category_end(body, at + 8);
    if (starts_with(body, at, TEXT("\\def"))) {
        int active = byte_at(body, at + 4);
        if (active < 0 || active == '\\' || active == '#' || active == '{' || active == '}' ||
            is_letter(active) || is_space(active) || byte_at(body, at + 5) != '{')
            return MISSING;
        i32 end = at + 6;
        while (end < body.n && body.bytes[end] != '{' && body.bytes[end] != '}') end++;
        return byte_at(body, end) == '}' ? end + 1 : MISSING;
    }
    if (starts_with(body, at, TEXT("\\@"))) return in_name(byte_at(body, at + 2)) ? MISSING : at + 2;
    if (starts_with(body, at, TEXT("\\immediate"))) {
        at = skip(body, at + 10, SPACE);
        return starts_with(body, at, TEXT("\\write")) ? write_end(body, at + 6) : MISSING;
    }
    return starts_with(body, at, TEXT("\\write")) ? write_end(body, at + 6) : MISSING;
}

bool printing_part(Text body, Text* printing) {
    *printing = body;
    if (!needs_tex(body)) return true;
    u8* bytes = take(&kept, body.n);
    i32 n = 0, done = 0;
    for (i32 at = 0; (at = find_byte(body, at, '\\')) != MISSING;) {
        i32 end = silent_end(body, at);
        if (end == MISSING) {
            at++;
            continue;
        }
        copy(bytes + n, body.bytes + done, at - done);
        n += at - done;
        done = at = end;
    }
    copy(bytes + n, body.bytes + done, body.n - done);
    n += body.n - done;
    *printing = (Text){bytes, n};
    return !needs_tex(*printing);
}
