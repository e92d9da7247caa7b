// Characters, commands, and searches in texts.
#include "core.h"

#include <wasm_simd128.h>

#define L (LETTER)
#define S (LETTER | LOWER)
const u8 KINDS[256] = {
    ['\t'] = SPACE | BLANK,
    ['\n'] = SPACE,
    ['\v'] = SPACE,
    ['\f'] = SPACE,
    ['\r'] = SPACE,
    [' '] = SPACE | BLANK,
    ['@'] = AT_SIGN,
    ['_'] = UNDERSCORE,
    ['0'] = DIGIT,
    ['1'] = DIGIT,
    ['2'] = DIGIT,
    ['3'] = DIGIT,
    ['4'] = DIGIT,
    ['5'] = DIGIT,
    ['6'] = DIGIT,
    ['7'] = DIGIT,
    ['8'] = DIGIT,
    ['9'] = DIGIT,
    ['A'] = L,
    ['B'] = L,
    ['C'] = L,
    ['D'] = L,
    ['E'] = L,
    ['F'] = L,
    ['G'] = L,
    ['H'] = L,
    ['I'] = L,
    ['J'] = L,
    ['K'] = L,
    ['L'] = L,
    ['M'] = L,
    ['N'] = L,
    ['O'] = L,
    ['P'] = L,
    ['Q'] = L,
    ['R'] = L,
    ['S'] = L,
    ['T'] = L,
    ['U'] = L,
    ['V'] = L,
    ['W'] = L,
    ['X'] = L,
    ['Y'] = L,
    ['Z'] = L,
    ['a'] = S,
    ['b'] = S,
    ['c'] = S,
    ['d'] = S,
    ['e'] = S,
    ['f'] = S,
    ['g'] = S,
    ['h'] = S,
    ['i'] = S,
    ['j'] = S,
    ['k'] = S,
    ['l'] = S,
    ['m'] = S,
    ['n'] = S,
    ['o'] = S,
    ['p'] = S,
    ['q'] = S,
    ['r'] = S,
    ['s'] = S,
    ['t'] = S,
    ['u'] = S,
    ['v'] = S,
    ['w'] = S,
    ['x'] = S,
    ['y'] = S,
    ['z'] = S,
};
#undef L
#undef S

i32 skip(Text text, i32 at, int kinds) {
    while (at < text.n && KINDS[text.bytes[at]] & kinds) at++;
    return at;
}

i32 skip_blanks(Text text, i32 at) {
    at = skip(text, at, BLANK);
    return byte_at(text, at) == '\n' ? skip(text, at + 1, BLANK) : at;
}

i32 find_byte(Text text, i32 at, u8 byte) {
    v128_t wanted = wasm_i8x16_splat((signed char)byte);
    for (; at + 16 <= text.n; at += 16) {
        u32 hits = wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(text.bytes + at), wanted));
        if (hits) return at + __builtin_ctz(hits);
    }
    for (; at < text.n; at++)
        if (text.bytes[at] == byte) return at;
    return MISSING;
}

bool starts_with(Text text, i32 at, Text what) {
    if (what.n > text.n - at) return false;
    for (i32 n = 0; n < what.n; n++)
        if (text.bytes[at + n] != what.bytes[n]) return false;
    return true;
}

bool equal(Text one, Text other) { return one.n == other.n && starts_with(one, 0, other); }

// `what` has two bytes at least; a pair of bytes is far rarer than the first one alone.
i32 find(Text text, i32 at, Text what) {
    v128_t first = wasm_i8x16_splat((signed char)what.bytes[0]),
           second = wasm_i8x16_splat((signed char)what.bytes[1]);
    for (; at + 17 <= text.n; at += 16) {
        v128_t here = wasm_i8x16_eq(wasm_v128_load(text.bytes + at), first);
        v128_t next = wasm_i8x16_eq(wasm_v128_load(text.bytes + at + 1), second);
        for (u32 hits = wasm_i8x16_bitmask(wasm_v128_and(here, next)); hits; hits &= hits - 1)
            if (starts_with(text, at + __builtin_ctz(hits), what)) return at + __builtin_ctz(hits);
    }
    for (; at + what.n <= text.n; at++)
        if (starts_with(text, at, what)) return at;
    return MISSING;
}

Text strip_end(Text text) {
    while (text.n && is_space(text.bytes[text.n - 1])) text.n--;
    return text;
}

Text strip_start(Text text) {
    i32 at = skip(text, 0, SPACE);
    return part(text, at, text.n);
}

Text strip(Text text) { return strip_end(strip_start(text)); }

bool is_escaped(Text text, i32 at) {
    i32 start = at;
    while (start && text.bytes[start - 1] == '\\') start--;
    return (at - start) & 1;
}

bool ends_in_control_word(Text text) {
    i32 at = text.n, first = text.n > 60 ? text.n - 60 : 0;
    while (at > first && in_name(text.bytes[at - 1])) at--;
    return at > first && at < text.n && text.bytes[at - 1] == '\\' && !is_escaped(text, at - 1);
}

i32 command_end(Text text, i32 at) {
    i32 end = skip(text, at + 1, LETTER | AT_SIGN);
    if (end > at + 1) return end;
    return at + 1 < text.n ? at + 2 : MISSING;
}

bool is_among(Text name, const char* names) {
    const u8* at = (const u8*)names;
    while (at[0] && at[1]) {
        at++;  // the blank before a name
        i32 n = 0;
        while (n < name.n && at[n] == name.bytes[n] && at[n] != ' ') n++;
        if (n == name.n && at[n] == ' ') return true;
        while (*at != ' ') at++;
    }
    return false;
}
