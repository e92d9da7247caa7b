// Commands and conditionals that choose between two branches.
#include "gullet.h"

// The branch for `verdict`; `kinds` names the branches that the command has: TF, T or F.
static Step chosen(Groups* groups, i32 end, bool verdict, const char* kinds) {
    Text branch = TEXT("");
    for (; *kinds; kinds++) {
        Text given;
        if (!read_arguments(groups, &end, 1, &given)) return GIVE_UP;
        if (*kinds == (verdict ? 'T' : 'F')) branch = given;
    }
    return step_to(branch, end);
}

static const Text BY_VALUE[] = {
    {(const u8*)"IfNoValue", 9}, {(const u8*)"tl@novalue@if@n", 15}, {(const u8*)"IfValue", 7},
    {(const u8*)"IfBoolean", 9}, {(const u8*)"IfBlank", 7},
};
enum { NO_VALUE_TEST, NO_VALUE_IN_EXPL, VALUE_TEST, BOOLEAN_TEST, BLANK_TEST };

static Step value_step(Groups* groups, i32 end, Text name) {
    for (int test = 0; test < 5; test++) {
        if (!starts_with(name, 0, BY_VALUE[test])) continue;
        Text kinds = part(name, BY_VALUE[test].n, name.n), value;
        if (!is_among(kinds, " TF T F ")) continue;
        if (!read_arguments(groups, &end, 1, &value)) return GIVE_UP;
        bool is_true = equal(value, TRUE_VALUE), verdict = equal(value, NO_VALUE) == (test != VALUE_TEST);
        if (test == BOOLEAN_TEST) {
            if (!is_true && !equal(value, FALSE_VALUE)) return GIVE_UP;
            verdict = is_true;
        }
        if (test == BLANK_TEST) verdict = !strip(value).n;
        return chosen(groups, end, verdict, kinds.n == 2 ? "TF" : kinds.bytes[0] == 'T' ? "T" : "F");
    }
    return NOT_CARRIED_OUT;
}

static Step equal_step(Groups* groups, i32 end) {
    Text test, given[2];
    if (!read_arguments(groups, &end, 1, &test)) return GIVE_UP;
    test = strip(test);
    if (!starts_with(test, 0, TEXT("\\equal"))) return GIVE_UP;
    Groups inner = groups_of(test);
    i32 behind = 6;
    bool is_read = read_arguments(&inner, &behind, 2, given);
    free_groups(&inner);
    if (!is_read || strip(part(test, behind, test.n)).n) return GIVE_UP;
    bool is_equal = equal(given[0], given[1]);
    bool has_commands = find_byte(given[0], 0, '\\') != MISSING || find_byte(given[1], 0, '\\') != MISSING;
    if (has_commands && !is_equal) return GIVE_UP;
    return chosen(groups, end, is_equal, "TF");
}

Step test_step(Groups* groups, i32 end, Text name) {
    Step by_value = value_step(groups, end, name);
    if (by_value.outcome != NO_STEP) return by_value;
    bool if_empty = is_among(name, " ifstrempty ifblank @ifempty @ifmtarg tl@if@empty@nTF tl@if@blank@nTF ");
    Text given[2];
    if (if_empty || is_among(name, " notblank @ifnotmtarg @ifnotempty ")) {
        if (!read_arguments(groups, &end, 1, given)) return GIVE_UP;
        return chosen(groups, end, !strip(given[0]).n == if_empty,
                      is_among(name, " @ifnotempty ") ? "T" : "TF");
    }
    if (is_among(name, " ifstrequal str@if@eq@nnTF tl@if@eq@nnTF ")) {
        if (!read_arguments(groups, &end, 2, given)) return GIVE_UP;
        return chosen(groups, end, equal(strip(given[0]), strip(given[1])), "TF");
    }
    return is_among(name, " ifthenelse ") ? equal_step(groups, end) : NOT_CARRIED_OUT;
}

// ---------------------------------------------------------------- conditionals

static const char PRIMITIVES[] =
    " if iftrue iffalse ifx ifnum ifdim ifodd ifcat ifcase ifmode ifvmode ifhmode ifmmode ifinner ifvoid "
    "ifhbox"
    " ifvbox ifeof ifdefined ifcsname ";

typedef struct {
    enum { NONE, IF, ELSE, FI, OR } kind;
    i32 end;
} Conditional;

// The conditional of TeX at a backslash.
static Conditional conditional_at(Text text, i32 at) {
    const Conditional none = {NONE, MISSING};
    int first = byte_at(text, at + 1);
    if (first != 'i' && first != 'e' && first != 'f' && first != 'o') return none;
    i32 end = skip(text, at + 1, LETTER | AT_SIGN);
    Text name = part(text, at + 1, end);
    if (equal(name, TEXT("else"))) return (Conditional){ELSE, end};
    if (equal(name, TEXT("fi"))) return (Conditional){FI, end};
    if (equal(name, TEXT("or"))) return (Conditional){OR, end};
    if (is_among(name, PRIMITIVES)) return (Conditional){IF, end};
    if (!starts_with(text, at + 1, TEXT("if@"))) return none;
    // `\if@` with a name of letters, digits and underscores
    for (i32 last = skip(text, at + 4, LETTER | DIGIT | UNDERSCORE); last > at + 4; last--)
        if (!in_name(byte_at(text, last))) return (Conditional){IF, last};
    return none;
}

typedef struct {
    i32 first_end, second, close, close_end;       // `second`: MISSING without \else; `close` is the \fi
} Branches;

static Branches branches_of(Text text, i32 at, i32 boundary) {
    Branches found = {MISSING, MISSING, MISSING, MISSING};
    text = part(text, 0, boundary < text.n ? boundary : text.n);
    i32 depth = 0;
    for (; (at = find_byte(text, at, '\\')) != MISSING; at++) {
        Conditional met = conditional_at(text, at);
        if (met.kind == NONE) continue;
        if (met.kind == IF) {
            depth++;
        } else if (met.kind == FI && !depth) {
            if (found.first_end == MISSING) found.first_end = at;
            found.close = at;
            found.close_end = met.end;
            return found;
        } else if (met.kind == FI) {
            depth--;
        } else if (!depth && met.kind == ELSE) {
            found.first_end = at;
            found.second = met.end;
        } else if (!depth) {
            return found;
        }
        at = met.end - 1;
    }
    return found;
}

// An integer in [start, end) without leading zeros; its sign is -1, 0 or 1.
typedef struct {
    int sign;
    Text digits;
    i32 end;
} Integer;

static Integer integer_at(Text text, i32 at) {
    i32 start = at + (byte_at(text, at) == '-'), end = skip(text, start, DIGIT), first = start;
    if (end == start) return (Integer){.end = MISSING};
    while (first < end && text.bytes[first] == '0') first++;
    return (Integer){first == end ? 0 : start > at ? -1 : 1, part(text, first, end), end};
}

static int compared(Integer one, Integer other) {
    if (one.sign != other.sign) return one.sign < other.sign ? -1 : 1;
    int larger = one.digits.n - other.digits.n;
    for (i32 n = 0; !larger && n < one.digits.n; n++) larger = one.digits.bytes[n] - other.digits.bytes[n];
    return one.sign * (larger < 0 ? -1 : larger > 0);
}

static Step number_step(Text first, Text second, i32 end) {
    Integer one = integer_at(first, skip(first, 0, SPACE));
    if (one.end == MISSING) return GIVE_UP;
    i32 sign = skip(first, one.end, SPACE);
    int relation = byte_at(first, sign);
    if (relation != '<' && relation != '>' && relation != '=') return GIVE_UP;
    Integer other = integer_at(first, skip(first, sign + 1, SPACE));
    if (other.end == MISSING) return GIVE_UP;
    int order = compared(one, other);
    bool verdict = relation == '<' ? order < 0 : relation == '>' ? order > 0 : !order;
    i32 rest = other.end + is_space(byte_at(first, other.end));
    return step_to(verdict ? part(first, rest, first.n) : second, end);
}

static bool is_empty_name(Text token) {
    return equal(token, TEXT("\\empty")) || equal(token, TEXT("\\@empty"));
}

static bool is_fixed(Text token) {
    return token.bytes[0] != '\\' || is_empty_name(token) || equal(token, TEXT("\\relax")) ||
           equal(token, TEXT("\\@nnil")) || equal(token, TEXT("\\@nil"));
}

// Reads the next token of `text`, with macros expanded if it `expands`; false where only TeX can.
static bool read_token(Expander* x, Text* text, bool expands, Text* token) {
    const Text detokenize = TEXT("\\detokenize");
    for (int n = 0; n < 10; n++) {
        *text = strip_start(*text);
        if (starts_with(*text, 0, detokenize)) {
            Groups groups = groups_of(*text);
            Argument given = argument_at(&groups, detokenize.n);
            free_groups(&groups);
            if (given.end == MISSING) return false;
            Text pieces[2] = {given.content, part(*text, given.end, text->n)};
            *text = join(&scratch, pieces, 2);
        }
        i32 end = byte_at(*text, 0) == '\\' ? command_end(*text, 0) : MISSING;
        bool is_command = end != MISSING;
        *token = part(*text, 0, is_command ? end : text->n ? 1 : 0);
        if (!is_command || !expands) break;
        Groups groups = groups_of(*text);
        Step step = step_of_macro(x, &groups, 0, end);
        free_groups(&groups);
        if (step.outcome == GIVEN_UP) return false;
        if (step.outcome == NO_STEP) break;
        Text pieces[3] = {step.done, step.new, part(*text, step.end < text->n ? step.end : text->n, text->n)};
        *text = join(&scratch, pieces, 3);
    }
    return token->n && !equal(*token, TEXT("{")) && !equal(*token, TEXT("}"));
}

// \if and \ifx: whether the first two tokens of `first` are equal.
static Step token_step(Expander* x, Text first, Text second, i32 end, bool expands) {
    Text tokens[2], rest = first;
    for (int n = 0; n < 2; n++) {
        if (!read_token(x, &rest, expands, &tokens[n])) return GIVE_UP;
        tokens[n] = take_copy(&scratch, tokens[n]);
        rest = part(rest, tokens[n].n, rest.n);
    }
    bool is_equal = equal(tokens[0], tokens[1]);
    if (!is_equal && !(is_fixed(tokens[0]) && is_fixed(tokens[1]))) return GIVE_UP;
    is_equal = is_equal || (is_empty_name(tokens[0]) && is_empty_name(tokens[1]));
    return step_to(is_equal ? rest : second, end);
}

Step conditional_step(Expander* x, Groups* groups, i32 start, i32 boundary) {
    Text text = groups->text;
    Conditional opened = conditional_at(text, start);
    if (opened.kind == NONE) return NOT_CARRIED_OUT;
    if (opened.kind != IF) return GIVE_UP;  // \else or \fi of a conditional that begins outside the body
    Branches found = branches_of(text, opened.end, boundary);
    if (found.close == MISSING) return GIVE_UP;
    Text kind = part(text, start + 1, opened.end), first = part(text, opened.end, found.first_end);
    Text second = found.second == MISSING ? TEXT("") : part(text, found.second, found.close);
    i32 end = found.close_end;
    if (equal(kind, TEXT("ifmmode"))) {
        Text inner = strip(first);
        Text formula[3] = {TEXT("$"), inner, TEXT("$")},
             ensured[3] = {TEXT("\\ensuremath{"), inner, TEXT("}")};
        if (!equal(strip(second), join(&scratch, formula, 3))) return GIVE_UP;
        return step_to(join(&scratch, ensured, 3), end);
    }
    if (equal(kind, TEXT("iftrue"))) return step_to(first, end);
    if (equal(kind, TEXT("iffalse"))) return step_to(second, end);
    if (equal(kind, TEXT("ifnum"))) return number_step(first, second, end);
    if (equal(kind, TEXT("if"))) return token_step(x, first, second, end, true);
    if (equal(kind, TEXT("ifx"))) return token_step(x, first, second, end, false);
    return GIVE_UP;
}
