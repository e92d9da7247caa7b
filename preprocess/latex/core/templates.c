// Macro bodies as templates, and how arguments are put in.
#include "expand.h"

// The next `#1` ... `#9`; the end of the body where there is none.
static i32 next_parameter(Text body, i32 at) {
    for (; (at = find_byte(body, at, '#')) != MISSING; at++)
        if (is_kind(byte_at(body, at + 1), DIGIT) && body.bytes[at + 1] != '0') return at;
    return body.n;
}

Template* make_template(Text body, i32 n_args, bool is_incomplete) {
    i32 n_places = 0;
    for (i32 at = 0; (at = next_parameter(body, at)) < body.n; at += 2) n_places += !is_escaped(body, at);
    Template* template = take(&kept, sizeof(Template));
    Text* literals = take(&kept, (i64)sizeof(Text) * (n_places + 1));
    u8* arguments = take(&kept, n_places);
    *template = (Template){n_places, literals, arguments, body.n, n_places == n_args, is_incomplete};
    i32 done = 0, place = 0;
    for (i32 at = 0; (at = next_parameter(body, at)) < body.n; at += 2) {
        if (is_escaped(body, at)) continue;  // \# prints a number sign
        literals[place] = part(body, done, at);
        arguments[place] = body.bytes[at + 1] - '0';
        template->is_in_order = template->is_in_order && arguments[place] == place + 1;
        place++;
        done = at + 2;
    }
    literals[place] = part(body, done, body.n);
    return template;
}

static Text given_at(const Template* template, i32 place, const Text* arguments, i32 n_args) {
    i32 number = template->arguments[place];
    return number <= n_args ? arguments[number - 1] : (Text){0};
}

i64 filled_bytes(const Template* template, const Text* arguments, i32 n_args) {
    i64 n_bytes = template->n_bytes;
    for (i32 place = 0; place < template->n_places; place++)
        n_bytes += given_at(template, place, arguments, n_args).n;
    return n_bytes;
}

Text fill_template(const Template* template, const Text* arguments, i32 n_args) {
    u8* bytes = take(&scratch, filled_bytes(template, arguments, n_args) + 2 * template->n_places);
    Text last = template->literals[0];  // the last piece
    copy(bytes, last.bytes, last.n);
    i32 n = last.n;
    for (i32 place = 0; place < template->n_places; place++) {
        Text pieces[2] = {given_at(template, place, arguments, n_args), template->literals[place + 1]};
        for (int i = 0; i < 2; i++) {
            if (!pieces[i].n) continue;
            if (is_letter(pieces[i].bytes[0]) && ends_in_control_word(last)) bytes[n++] = ' ';
            copy(bytes + n, pieces[i].bytes, pieces[i].n);
            n += pieces[i].n;
            last = pieces[i];
        }
    }
    return (Text){bytes, n};
}

// The body with the arguments at `at` put in.
Argument fill_body(const Macro* macro, Groups* groups, i32 at) {
    const Argument none = {.end = MISSING};
    Text given[MAX_DELIMITED];
    i32 n_given =
        macro->n_letters ? macro->n_letters : macro->n_args + (!macro->n_args && macro->has_default);
    if (!macro->has_body) return none;
    if (macro->letters)
        at = letter_arguments(macro, groups, at, given);
    else if (macro->delimited.n)
        at = delimited_arguments(macro, groups, at, given, &n_given);
    else
        at = plain_arguments(macro, groups, at, given);
    if (at == MISSING) return none;
    Buffer filled = {0};
    Text body = macro->body;
    i32 done = 0;
    for (i32 mark = 0; (mark = next_parameter(body, mark)) < body.n; mark += 2) {
        if (is_escaped(body, mark)) continue;
        bool is_inner = mark > done && body.bytes[mark - 1] == '#';
        Text before = part(body, done, mark - is_inner);
        append(&filled, before);
        if (is_inner) {  // ##1 is a parameter of a macro that this body defines
            append(&filled, part(body, mark, mark + 2));
        } else {
            i32 number = body.bytes[mark + 1] - '0';
            Text argument = number <= n_given ? given[number - 1] : (Text){0};
            if (is_letter(byte_at(argument, 0)) && ends_in_control_word(before)) append(&filled, TEXT(" "));
            append(&filled, argument);
            if (ends_in_control_word(argument) && is_letter(byte_at(body, mark + 2)))
                append(&filled, TEXT(" "));
        }
        done = mark + 2;
    }
    append(&filled, part(body, done, body.n));
    Text copied = take_copy(&scratch, text_of(&filled));
    free_buffer(&filled);
    return (Argument){copied, at};
}
