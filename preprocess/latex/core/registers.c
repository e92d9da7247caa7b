// Lengths and other values that plain TeX assigns to registers.
#include "layout.h"

static const char LENGTHS[] =
    " paperwidth paperheight linewidth columnwidth smallskipamount medskipamount bigskipamount maxdimen ";

static i32 register_end(Text text, i32 at) {
    i32 end;
    Name* name = command_at(&layout_names, text, at, &end);
    if (end == MISSING) return MISSING;
    return (name && name->rule == REGISTER) || is_among(part(text, at + 1, end), LENGTHS) ? end : MISSING;
}

// Behind a length: 3pt plus 1pt, 0.5\baselineskip.
i32 value_length_end(Text text, i32 at) {
    i32 end = length_end(text, at, false);
    if (end == MISSING) {
        at = skip_blanks(text, at);
        if (byte_at(text, at) == '-') at++;
        while (is_kind(byte_at(text, at), DIGIT) || byte_at(text, at) == '.') at++;
        if (byte_at(text, at) == '\\') end = register_end(text, at);
    }
    return end == MISSING ? MISSING : stretch_end(text, end);
}

static i32 magstep_end(Text text, i32 at) {
    if (!starts_with(text, at, TEXT("\\magstep"))) return MISSING;
    if (starts_with(text, at + 8, TEXT("half"))) return at + 12;
    at = skip(text, at + 8, SPACE);
    return is_kind(byte_at(text, at), DIGIT) ? at + 1 : MISSING;
}

// Behind a value that is no length: a number or a {group} only behind `=`, or \tolerance 1000.
static i32 other_value_end(Text text, i32 at) {
    at = skip_blanks(text, at);
    if (byte_at(text, at) != '=') {
        i32 end = skip(text, at, DIGIT);
        if (end >= at + 3 && text.bytes[at] != '0') return end;
        return magstep_end(text, at);
    }
    at = skip_blanks(text, at + 1);
    i32 number = at + (byte_at(text, at) == '-'), end = number;
    while (is_kind(byte_at(text, end), DIGIT) || byte_at(text, end) == '.') end++;
    if (end > number) return end;
    if (byte_at(text, at) != '{') return magstep_end(text, at);
    for (end = at + 1; end < text.n && text.bytes[end] != '{' && text.bytes[end] != '}';) end++;
    return byte_at(text, end) == '}' && end - at - 1 <= 300 ? end + 1 : MISSING;
}

// Whether the register at `start` is part of a value: 0.5\hsize, {\textwidth-1cm}.
static bool is_used_as_value(Text text, i32 start) {
    int before = start ? text.bytes[start - 1] : -1;
    if (is_kind(before, DIGIT) || before == '.') return true;
    if (before != '{') return false;
    i32 end = skip(text, start + 1, LOWER);
    return end > start + 1 && (byte_at(text, end) == '-' || byte_at(text, end) == '+');
}

// Behind the assignment to the register in [start, end); MISSING where nothing is assigned.
i32 assignment_end(Text text, i32 start, i32 end) {
    i32 equals = skip_blanks(text, end);
    bool is_assigned = byte_at(text, equals) == '=';
    if (!is_assigned && is_used_as_value(text, start)) return MISSING;
    i32 behind = value_length_end(text, is_assigned ? equals + 1 : end);
    return behind == MISSING ? other_value_end(text, end) : behind;
}
