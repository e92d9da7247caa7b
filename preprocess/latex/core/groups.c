// The arguments of commands.
#include "core.h"

#define LOCAL_BRACES 500                           // counted for one group before all braces are paired
#define LOCAL_BYTES 4000                           // searched for its end once they are paired
#define MAX_OPTION 2000                            // bytes of an `[option]`

// The offset of the next brace that is not escaped in [at, end), where a backslash escapes braces and itself.
static i32 next_brace(Text text, i32 at) {
    for (; at < text.n; at++) {
        u8 byte = text.bytes[at];
        if (byte == '{' || byte == '}') return at;
        if (byte == '\\') {
            int next = byte_at(text, at + 1);
            if (next == '{' || next == '}' || next == '\\') at++;
        }
    }
    return MISSING;
}

static void pair_up(Groups* groups) {
    Text text = groups->text;
    i32 n_open = 0;
    for (i32 at = 0; (at = next_brace(text, at)) != MISSING; at++) n_open += text.bytes[at] == '{';
    groups->is_paired = true;
    groups->room = n_open;
    groups->n_pairs = 0;
    if (!n_open) return;
    groups->pairs = allocate((i64)n_open * 8);
    i32 *open = allocate((i64)n_open * 4), depth = 0;
    for (i32 at = 0; (at = next_brace(text, at)) != MISSING; at++) {
        if (text.bytes[at] == '{') {
            open[depth++] = groups->n_pairs;
            groups->pairs[2 * groups->n_pairs] = at;
            groups->pairs[2 * groups->n_pairs++ + 1] = MISSING;
        } else if (depth) {
            groups->pairs[2 * open[--depth] + 1] = at + 1;
        }
    }
    release(open, (i64)n_open * 4);
}

void free_groups(Groups* groups) { release(groups->pairs, (i64)groups->room * 8); }

i32 group_end(Groups* groups, i32 start) {
    Text text = groups->text;
    i32 depth = 0, n_braces = 0;
    for (i32 at = start; (at = next_brace(text, at)) != MISSING; at++) {
        depth += text.bytes[at] == '{' ? 1 : -1;
        if (!depth && text.bytes[at] == '}') return at + 1;
        if (n_braces++ == LOCAL_BRACES || (groups->is_paired && at - start > LOCAL_BYTES)) break;
    }
    if (!groups->is_paired) pair_up(groups);
    i32 low = 0, high = groups->n_pairs;
    while (low < high) {
        i32 middle = (low + high) / 2;
        if (groups->pairs[2 * middle] < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low < groups->n_pairs && groups->pairs[2 * low] == start ? groups->pairs[2 * low + 1] : MISSING;
}

Argument group_at(Groups* groups, i32 at) {
    Argument none = {.end = MISSING};
    at = skip_blanks(groups->text, at);
    if (byte_at(groups->text, at) != '{') return none;
    i32 end = group_end(groups, at);
    return end == MISSING ? none : (Argument){part(groups->text, at + 1, end - 1), end};
}

Argument argument_at(Groups* groups, i32 at) {
    Text text = groups->text;
    at = skip_blanks(text, at);
    int first = byte_at(text, at), next = byte_at(text, at + 1);
    Argument none = {.end = MISSING};
    if (first < 0 || is_space(first) || first == '}') return none;
    if (first == '{') return group_at(groups, at);
    i32 end = at + 1;
    if (first == '\\' && next >= 0 && next != '\n') {
        end = command_end(text, at);
    } else if (first == '#' && is_kind(next, DIGIT)) {
        end = at + 2;
    } else if (first == 0 && is_kind(next, DIGIT)) {  // a placeholder of verbatim text
        i32 behind = skip(text, at + 1, DIGIT);
        if (byte_at(text, behind) == 0) end = behind + 1;
    } else if (first >= 0xC2 && first <= 0xF4) {
        while (byte_at(text, end) >= 0x80 && byte_at(text, end) <= 0xBF) end++;
    }
    return (Argument){part(text, at, end), end};
}

Argument option_at(Groups* groups, i32 at) {
    Argument none = {.end = MISSING};
    Text text = groups->text;
    at = skip_blanks(text, at);
    if (byte_at(text, at) != '[') return none;
    i32 start = at + 1, position = start, limit = start + MAX_OPTION;
    Text local = {text.bytes, limit < text.n ? limit : text.n};
    for (;;) {
        // The next mark. A span without any is not searched again.
        i32 from = position, known = position;
        if (groups->bare_start <= from && from < groups->bare_end)
            known = groups->bare_start, from = groups->bare_end;
        i32 mark = from;
        bool is_single = false;
        for (; mark < local.n; mark++) {
            u8 byte = local.bytes[mark];
            if (byte == ']' || byte == '{' || byte == '}') {
                is_single = true;
                break;
            }
            if (byte == '\\') {
                int next = byte_at(local, mark + 1);
                if (next == '\\' || next == ']' || next == '{' || next == '}') break;
            }
        }
        if (mark >= local.n) {
            groups->bare_start = known;
            groups->bare_end = from > limit ? from : limit;
            return none;
        }
        if (!is_single) {
            position = mark + 2;
            continue;
        }
        if (text.bytes[mark] == ']') return (Argument){part(text, start, mark), mark + 1};
        position = text.bytes[mark] == '{' ? group_end(groups, mark) : MISSING;
        if (position == MISSING) return none;
    }
}

i32 shallow_group_end(Text text, i32 at) {
    if (byte_at(text, at) != '{') return MISSING;
    int depth = 0;
    for (; at < text.n; at++) {
        u8 byte = text.bytes[at];
        if (byte == '{' && ++depth > 3) return MISSING;
        if (byte == '}' && !--depth) return at + 1;
        if (byte == '\\' && ++at >= text.n) return MISSING;
    }
    return MISSING;
}
