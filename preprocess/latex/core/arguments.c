// Arguments of a use: LaTeX's own, those that \NewDocumentCommand specifies, and delimited ones of \def. Also
// rewrites bodies between \ExplSyntaxOn and \ExplSyntaxOff as ordinary LaTeX.
#include "macros.h"

static const Text SWITCH = {(const u8*)"\\ExplSyntaxO", 12};

// The start of the next region at or behind `at`, and the offset behind it in `end`.
i32 next_expl_region(Text text, i32 at, i32* end) {
    i32 start = MISSING;
    while ((at = find(text, at, SWITCH)) != MISSING) {
        i32 behind = at + SWITCH.n;
        bool on = byte_at(text, behind) == 'n' && !in_name(byte_at(text, behind + 1));
        bool off = starts_with(text, behind, TEXT("ff")) && !in_name(byte_at(text, behind + 2));
        if (on && start == MISSING) start = at;
        if (off && start != MISSING) {
            *end = behind + 2;
            return start;
        }
        at++;
    }
    return MISSING;
}

static bool in_expl_name(int byte) { return in_name(byte) || byte == '_' || byte == ':'; }

// A body from such a region: no blanks but for `~`; `@` for `_` and `:` in names.
Text as_latex(Text body) {
    u8* bytes = take(&kept, 2 * (i64)body.n);
    i32 n = 0;
    for (i32 at = 0; at < body.n;) {
        u8 byte = body.bytes[at];
        if (byte == '\\' && in_expl_name(byte_at(body, at + 1))) {
            bytes[n++] = byte;
            for (at++; in_expl_name(byte_at(body, at)); at++)
                bytes[n++] = in_name(body.bytes[at]) ? body.bytes[at] : '@';
            while (at < body.n && (is_kind(body.bytes[at], BLANK) || body.bytes[at] == '\n')) at++;
            if (is_letter(byte_at(body, at))) bytes[n++] = ' ';
        } else if (byte == '\\' && at + 1 < body.n) {
            bytes[n++] = byte;
            bytes[n++] = body.bytes[at + 1];
            at += 2;
        } else {
            if (byte == '~')
                bytes[n++] = ' ';
            else if (byte != '\n' && !is_kind(byte, BLANK))
                bytes[n++] = byte;
            at++;
        }
    }
    return (Text){bytes, n};
}

static bool is_one_of(int byte, const char* bytes) {
    for (; *bytes; bytes++)
        if (byte == *bytes) return true;
    return false;
}

const Letter* read_letters(Text signature, i32* n_letters) {
    Letter letters[MAX_ARGUMENTS];
    signature = strip_end(signature);
    Groups groups = groups_of(signature);
    i32 n = 0, at = 0;
    bool is_read = true;
    while (at < signature.n && is_read) {
        at = skip_blanks(signature, at);
        if (is_one_of(byte_at(signature, at), "+!>")) at++;
        at = skip(signature, at, SPACE);
        int letter = byte_at(signature, at++);
        if (n == MAX_ARGUMENTS || !is_one_of(letter, "mosvOdDrRt")) {
            is_read = false;
            break;
        }
        Letter read = {(u8)letter, '[', ']', NO_VALUE};
        if (is_one_of(letter, "dDrRt")) {
            read.opening = byte_at(signature, at);
            read.closing = byte_at(signature, at + 1);
            at += letter == 't' ? 1 : 2;
        }
        if (is_one_of(letter, "ODR")) {
            Argument given = argument_at(&groups, at);
            is_read = given.end != MISSING;
            read.default_value = given.content;
            at = given.end;
        }
        letters[n++] = read;
    }
    free_groups(&groups);
    if (!is_read || !n) return 0;
    Letter* copied = take(&kept, (i64)sizeof(Letter) * n);
    for (i32 i = 0; i < n; i++) {
        copied[i] = letters[i];
        copied[i].default_value = take_copy(&kept, letters[i].default_value);
    }
    *n_letters = n;
    return copied;
}

// The text before the next `delimiter` outside braces.
static Argument until(Groups* groups, i32 at, Text delimiter) {
    Argument none = {.end = MISSING};
    Text text = groups->text;
    for (i32 position = at; position < text.n;) {
        if (starts_with(text, position, delimiter))
            return (Argument){part(text, at, position), position + delimiter.n};
        u8 byte = text.bytes[position];
        if (byte == '}') return none;
        if (byte == '{')
            position = group_end(groups, position);
        else
            position += byte == '\\' && !starts_with(delimiter, 0, TEXT("\\")) ? 2 : 1;
        if (position == MISSING) return none;
    }
    return none;
}

static Argument between(Groups* groups, i32 at, int opening, int closing) {
    if (opening == '[') return option_at(groups, at);
    i32 start = skip_blanks(groups->text, at);
    if (byte_at(groups->text, start) != opening) return (Argument){.end = MISSING};
    u8 byte = (u8)closing;
    return until(groups, start + 1, (Text){&byte, closing == MISSING ? 0 : 1});
}

i32 plain_arguments(const Macro* macro, Groups* groups, i32 at, Text* arguments) {
    i32 n = 0;
    if (macro->has_default) {
        Argument option = option_at(groups, at);
        arguments[n++] = option.end == MISSING ? macro->default_value : option.content;
        if (option.end != MISSING) at = option.end;
    }
    for (; n < macro->n_args; n++) {
        Argument given = argument_at(groups, at);
        if (given.end == MISSING) return MISSING;
        arguments[n] = given.content;
        at = given.end;
    }
    return at;
}

i32 letter_arguments(const Macro* macro, Groups* groups, i32 at, Text* arguments) {
    for (i32 n = 0; n < macro->n_letters; n++) {
        Letter wanted = macro->letters[n];
        i32 next = skip_blanks(groups->text, at);
        int first = byte_at(groups->text, next);
        if (is_one_of(wanted.letter, "mv")) {
            Argument given = argument_at(groups, at);
            if (given.end == MISSING) return MISSING;
            arguments[n] = given.content;
            at = given.end;
        } else if (is_one_of(wanted.letter, "st")) {
            bool is_there = first == (wanted.letter == 's' ? '*' : wanted.opening);
            arguments[n] = is_there ? TRUE_VALUE : FALSE_VALUE;
            if (is_there) at = next + 1;
        } else {
            Argument given = between(groups, at, wanted.opening, wanted.closing);
            if (given.end == MISSING && (is_one_of(wanted.letter, "rR") || first == wanted.opening))
                return MISSING;
            arguments[n] = given.end == MISSING ? wanted.default_value : given.content;
            if (given.end != MISSING) at = given.end;
        }
    }
    return at;
}

// The next `#` with a digit from 1 to 9 in a parameter text; its end where there is none.
static i32 next_parameter(Text text, i32 at) {
    for (; at < text.n; at++)
        if (text.bytes[at] == '#' && is_kind(byte_at(text, at + 1), DIGIT) && text.bytes[at + 1] != '0')
            return at;
    return text.n;
}

i32 delimited_arguments(const Macro* macro, Groups* groups, i32 at, Text* arguments, i32* n_arguments) {
    Text parameters = macro->delimited;
    i32 mark = next_parameter(parameters, 0);
    if (!starts_with(groups->text, at, part(parameters, 0, mark))) return MISSING;
    at += mark;
    *n_arguments = 0;
    while (mark < parameters.n && *n_arguments < MAX_DELIMITED) {
        i32 next = next_parameter(parameters, mark + 2);
        Text delimiter = part(parameters, mark + 2, next);
        Argument given = delimiter.n ? until(groups, at, delimiter) : argument_at(groups, at);
        if (given.end == MISSING) return MISSING;
        at = given.end;
        Text argument = given.content;
        i32 end = at - delimiter.n;
        if (byte_at(argument, 0) == '{' && group_end(groups, end - argument.n) == end)
            argument = part(argument, 1, argument.n - 1);
        arguments[(*n_arguments)++] = argument;
        mark = next;
    }
    return at;
}
