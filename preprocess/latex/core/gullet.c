// Carries out macros whose bodies look ahead or test their arguments, as the part of TeX called gullet does.
//
// A body is read command by command together with the text behind the use: `\@ifnextchar` and `\@ifstar` read
// that text, tests of arguments are decided, and macros inside are expanded in place. At anything else that
// only TeX can do the use is given up, and stays as it is.
#include "gullet.h"

#define MAX_STEPS 200  // for one use; the longest chain in a real paper takes 30
#define MAX_STEPS_OF_NAME 20  // of these, for a name between \csname and \endcsname
#define MAX_BYTES 20000  // that a body may grow to

const Step NOT_CARRIED_OUT = {.outcome = NO_STEP}, GIVE_UP = {.outcome = GIVEN_UP};

Step step_to(Text new, i32 end) { return (Step){STEP, new, {0}, end}; }

// Steps that may still be taken. Those for a name count as steps of the body around it, too.
struct Steps {
    i32 left;
    Steps* around;
};

static bool take_step(Steps* steps) {
    if (!steps->left || (steps->around && !take_step(steps->around))) return false;
    steps->left--;
    return true;
}

// Behind the command at a backslash, if that ends before `limit`.
static i32 limited_end(Text text, i32 at, i32 limit) { return command_end(part(text, 0, limit), at); }

// `is_name`: the body is a name between \csname and \endcsname, in which no command may remain.
static Carried carry(Expander* x, Text body, Text behind, Steps* steps, bool is_name) {
    Carried carried = {.given_up = true};
    Buffer texts[2] = {0}, printed = {0};
    Arena mark = scratch;
    append(&texts[0], body);
    append(&texts[0], behind);
    int current = 0;
    i32 boundary = body.n, at = 0;
    while (take_step(steps)) {
        Text text = text_of(&texts[current]);
        i32 limit = boundary > at ? boundary : at, end = MISSING;
        i32 start = find_byte(part(text, 0, limit < text.n ? limit : text.n), at, '\\');
        if (start != MISSING) end = limited_end(text, start, limit < text.n ? limit : text.n);
        if (end == MISSING) {
            append(&printed, part(text, at, boundary));
            carried.given_up = false;
            break;
        }
        Text name = part(text, start, end);
        append(&printed, part(text, at, start));
        Groups groups = groups_of(text);
        Step step = gullet_step(x, &groups, start, end, boundary, steps);
        free_groups(&groups);
        if (step.outcome == GIVEN_UP) break;
        if (step.outcome == NO_STEP) {
            if (is_name || (needs_tex(name) && !starts_with(name, 0, TEXT("\\operator@font")))) break;
            append(&printed, name);
            at = end;
            continue;
        }
        append(&printed, step.done);
        carried.n_read += text.n;
        carried.taken += step.end > boundary ? step.end - boundary : 0;
        Buffer* other = &texts[1 - current];
        other->n = 0;
        append(other, step.new);
        append(other, part(text, step.end < text.n ? step.end : text.n, text.n));
        boundary = step.new.n + (boundary > step.end ? boundary - step.end : 0);
        current = 1 - current;
        at = 0;
        back_to(&scratch, mark);
        if (other->n > MAX_BYTES) break;
    }
    back_to(&scratch, mark);
    if (!carried.given_up) carried.printed = take_copy(&scratch, text_of(&printed));
    free_buffer(&printed);
    free_buffer(&texts[0]);
    free_buffer(&texts[1]);
    return carried;
}

Carried carry_out(Expander* x, Text body, Text behind) {
    Steps steps = {MAX_STEPS, 0};
    return carry(x, body, behind, &steps, false);
}

// The text of a name between \csname and \endcsname; empty where commands remain in it.
static Text plain_name(Expander* x, Text text, Steps* around) {
    Steps steps = {MAX_STEPS_OF_NAME, around};
    Carried carried = carry(x, text, TEXT(""), &steps, true);
    if (carried.given_up || skip(carried.printed, 0, LETTER | AT_SIGN) < carried.printed.n) return (Text){0};
    return carried.printed;
}

bool read_arguments(Groups* groups, i32* at, i32 n_arguments, Text* arguments) {
    for (i32 n = 0; n < n_arguments; n++) {
        Argument given = argument_at(groups, *at);
        if (given.end == MISSING) return false;
        arguments[n] = given.content;
        *at = given.end;
    }
    return true;
}

// Whether the token `wanted` follows `at`, after blanks.
static bool is_next(Text text, i32 at, Text wanted) {
    at = skip_blanks(text, at);
    if (equal(wanted, TEXT("\\bgroup"))) wanted = TEXT("{");
    if (equal(wanted, TEXT("\\egroup"))) wanted = TEXT("}");
    i32 end = byte_at(text, at) == '\\' ? command_end(text, at) : MISSING;
    if (end == MISSING) end = at < text.n ? at + 1 : at;
    return equal(part(text, at, end), wanted);
}

static const char DROPPED[] = " protect relax noexpand expandafter m@th long global ";
static const struct {
    const char* names;
    i32 n_arguments, chosen;
} CHOICES[] = {
    {" @firstoftwo ", 2, 0},       {" @secondoftwo ", 2, 1},
    {" @firstofone use@n ", 1, 0}, {" @gobble use@none@n ", 1, MISSING},
    {" @gobbletwo ", 2, MISSING},  {" mathchoice ", 4, 0},
};

static Step map_items(Groups* groups, i32 end) {
    Text given[2];
    if (!read_arguments(groups, &end, 2, given)) return GIVE_UP;
    Buffer mapped = {0};
    for (i32 at = 0; at <= given[0].n;) {
        i32 comma = find_byte(given[0], at, ',');
        if (comma == MISSING) comma = given[0].n;
        Text item = strip(part(given[0], at, comma));
        at = comma + 1;
        if (!item.n) continue;
        i32 done = 0;
        for (i32 mark; (mark = find(given[1], done, TEXT("#1"))) != MISSING; done = mark + 2) {
            append(&mapped, part(given[1], done, mark));
            append(&mapped, item);
        }
        append(&mapped, part(given[1], done, given[1].n));
        if (mapped.n > MAX_BYTES) break;  // the body has become too long: the next step gives up
    }
    Text new = take_copy(&scratch, text_of(&mapped));
    free_buffer(&mapped);
    return step_to(new, end);
}

static i32 advance_end(Text text, i32 at) {
    i32 name = at + 1;
    if (byte_at(text, at) != '\\' || !in_name(byte_at(text, name))) return MISSING;
    at = skip(text, skip(text, name, LETTER | AT_SIGN), SPACE);
    if (starts_with(text, at, TEXT("by"))) at = skip(text, at + 2, SPACE);
    if (byte_at(text, at) == '-') at++;
    bool is_command = byte_at(text, at) == '\\';
    i32 start = at + is_command, end = skip(text, start, is_command ? LETTER | AT_SIGN : DIGIT);
    if (end == start) return MISSING;
    return is_space(byte_at(text, end)) ? end + 1 : end;
}

static Step csname_step(Expander* x, Text text, i32 end, Steps* steps) {
    i32 close = find(text, end, TEXT("\\endcsname"));
    Text inner = close == MISSING ? (Text){0} : plain_name(x, strip_start(part(text, end, close)), steps);
    if (!inner.n) return GIVE_UP;
    Text pieces[3] = {TEXT("\\"), inner, TEXT(" ")};
    return step_to(join(&scratch, pieces, 3), close + TEXT("\\endcsname").n);
}

Step gullet_step(Expander* x, Groups* groups, i32 start, i32 end, i32 boundary, Steps* steps) {
    Text text = groups->text, name = part(text, start + 1, end), given[4];
    if (is_among(name, DROPPED)) {
        i32 limit = end > boundary ? end : boundary;
        return step_to(TEXT(""), skip_blanks(part(text, 0, limit < text.n ? limit : text.n), end));
    }
    if (is_among(name, " group@begin@ group@end@ ")) return step_to(TEXT(""), end);
    if (is_among(name, " @ifnextchar kernel@ifnextchar ")) {
        if (!read_arguments(groups, &end, 3, given)) return GIVE_UP;
        return step_to(is_next(text, end, given[0]) ? given[1] : given[2], end);
    }
    if (is_among(name, " @ifstar ")) {
        if (!read_arguments(groups, &end, 2, given)) return GIVE_UP;
        i32 star = skip_blanks(text, end);
        return byte_at(text, star) == '*' ? step_to(given[0], star + 1) : step_to(given[1], end);
    }
    if (is_among(name, " @testopt ")) {
        if (!read_arguments(groups, &end, 2, given)) return GIVE_UP;
        Text pieces[4] = {given[0], TEXT("["), given[1], TEXT("]")};
        return step_to(join(&scratch, pieces, is_next(text, end, TEXT("[")) ? 1 : 4), end);
    }
    for (u32 n = 0; n < sizeof CHOICES / sizeof *CHOICES; n++) {
        if (!is_among(name, CHOICES[n].names)) continue;
        if (!read_arguments(groups, &end, CHOICES[n].n_arguments, given)) return GIVE_UP;
        return step_to(CHOICES[n].chosen == MISSING ? TEXT("") : given[CHOICES[n].chosen], end);
    }
    Step tested = test_step(groups, end, name);
    if (tested.outcome != NO_STEP) return tested;
    if (is_among(name, " csname ")) return csname_step(x, text, end, steps);
    if (is_among(name, " clist@map@inline@nn ")) return map_items(groups, end);
    if (is_among(name, " advance ")) {
        i32 behind = advance_end(text, end);
        if (behind != MISSING) return step_to(TEXT(""), behind);
    }
    Step decided = conditional_step(x, groups, start, boundary);
    if (decided.outcome != NO_STEP) return decided;
    return step_of_macro(x, groups, start, end);
}

// Expands the command in [start, end) of a body if it is a macro of the paper.
Step step_of_macro(Expander* x, Groups* groups, i32 start, i32 end) {
    Text text = groups->text;
    i32 definition = define_at(x, groups, start, false);
    if (definition != MISSING) {
        i32 depth = 0;
        for (i32 at = 0; at < start; at++) depth += (text.bytes[at] == '{') - (text.bytes[at] == '}');
        return depth ? GIVE_UP : step_to(TEXT(""), definition);  // it would be local to a group
    }
    Text written = part(text, start, end);
    Name* name = find_name(&x->names, written, TEXT(""));
    Macro* macro = name ? name->macro : 0;
    if (!macro || macro->kind != MACRO) return NOT_CARRIED_OUT;
    if (byte_at(text, end) == '*') {
        Name* starred = find_name(&x->names, written, TEXT("*"));
        if (starred && starred->macro) {
            name = starred;
            macro = name->macro;
            end++;
        }
    }
    Template* template = template_for(x, name, macro);
    if (template && !template->is_incomplete) {
        Use use = use_macro(x, name, macro, groups, end);
        return use.end == MISSING ? NOT_CARRIED_OUT : (Step){STEP, {0}, use.text, use.end};
    }
    if (!name->is_opaque && !template)  // inside its own body
        return (Step){STEP, {0}, name->name, end};
    Argument filled = fill_body(macro, groups, end);
    return filled.end == MISSING ? GIVE_UP : step_to(filled.content, filled.end);
}
