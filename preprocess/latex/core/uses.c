// Single uses of macros: by the template of a macro, or carried out where it has none.
#include "expand.h"

static bool has_template(const Expander* x, const Name* name) { return name->template_age == x->age; }

Template* known_template(const Expander* x, const Name* name) {
    return has_template(x, name) ? name->template : 0;
}

static Text expanded_part(Expander* x, Text text) {
    x->depth++;
    Text expanded = expand_text(x, text, false);
    x->depth--;
    return expanded;
}

static void set_template(Expander* x, Name* name, Template* template) {
    name->template = template;
    name->template_age = x->age;
}

Template* template_for(Expander* x, Name* name, Macro* macro) {
    if (has_template(x, name)) return name->template;
    if (macro->verdict == UNKNOWN)
        macro->verdict = macro->has_body && printing_part(macro->body, &macro->printing) ? PRINTS : NEEDS_TEX;
    if (macro->verdict == NEEDS_TEX || macro->letters || macro->delimited.n) {
        set_template(x, name, 0);
        name->is_opaque = true;
        return 0;
    }
    if (x->depth > MAX_DEPTH || x->work_budget < 0) return 0;
    Text body = macro->printing;
    bool is_incomplete = false;
    if (macro->is_primitive || find_byte(body, 0, '\\') == MISSING) {
        if (!macro->plain) macro->plain = make_template(body, macro->n_args, false);
        set_template(x, name, macro->plain);
        return macro->plain;
    }
    set_template(x, name, 0);
    bool counts = x->counts, met_opaque = x->met_opaque, in_body = x->in_body;
    x->counts = x->met_opaque = false;
    x->in_body = true;
    i64 work_left = x->work_budget;
    Arena mark = scratch;
    body = take_copy(&kept, expanded_part(x, body));
    back_to(&scratch, mark);
    // A template may be made many times, so its body is work even if nothing in it is a macro.
    if (x->work_budget > work_left - macro->printing.n) x->work_budget = work_left - macro->printing.n;
    is_incomplete = x->met_opaque;
    x->counts = counts;
    x->met_opaque = met_opaque || is_incomplete;
    x->in_body = in_body;
    x->output_budget -= body.n;
    Template* template = make_template(body, macro->n_args, is_incomplete);
    set_template(x, name, template);
    return template;
}

// ---------------------------------------------------------------- uses

// Counts one more use and `n_bytes` of output; false, without spending, if that exceeds a limit.
bool spend(Expander* x, i64 n_bytes) {
    x->n_uses++;
    if (x->n_uses > MAX_USES || n_bytes > x->output_budget) return false;
    x->output_budget -= n_bytes;
    return true;
}

// Counts a use that stays; in a body, notes whether it needs the text behind it.
void leave(Expander* x, Name* name) {
    if (!x->counts) {
        x->met_opaque = x->met_opaque || name->is_opaque;
        return;
    }
    x->n_left++;
    if (!name->n_left++) name->left_order = x->n_names_left++;
}

static Text without_no_value(Text text) {
    i32 at = 0, n = 0, next;
    if (find(text, 0, NO_VALUE) == MISSING) return text;
    u8* bytes = take(&scratch, text.n);
    for (; (next = find(text, at, NO_VALUE)) != MISSING; at = next + NO_VALUE.n) {
        copy(bytes + n, text.bytes + at, next - at);
        n += next - at;
    }
    copy(bytes + n, text.bytes + at, text.n - at);
    return (Text){bytes, n + text.n - at};
}

// As `use_macro`, for a macro without a complete template.
static Use carried_out(Expander* x, Name* name, Macro* macro, Groups* groups, i32 at) {
    Use stays = {.end = MISSING};
    if (!macro->has_body || x->in_body || name->n_failures > MAX_FAILURES) return stays;
    for (i32 n = 0; n < macro->delimited.n; n++)
        if (macro->delimited.bytes[n] == '#') return stays;
    if (!name->is_opaque && !known_template(x, name)) return stays;  // inside its own body
    i32 limit = at + WINDOW < groups->text.n ? at + WINDOW : groups->text.n;
    Groups behind = groups_of(part(groups->text, at, limit));
    bool counts = x->counts, met_opaque = x->met_opaque;
    x->counts = false;
    x->depth++;
    Use use = stays;
    if (x->depth <= MAX_DEPTH && x->work_budget >= 0) {
        Argument filled = fill_body(macro, &behind, 0);
        if (filled.end == MISSING) {
            x->work_budget -= behind.text.n;
        } else {
            i32 used = filled.end < behind.text.n ? filled.end : behind.text.n;
            Carried carried = carry_out(x, filled.content, part(behind.text, used, behind.text.n));
            if (carried.given_up) {
                x->work_budget -= WINDOW;
                name->n_failures++;
            } else {
                Text printed = without_no_value(carried.printed);
                x->work_budget -= carried.n_read + printed.n;
                if (printed.n <= x->output_budget) {
                    x->output_budget -= printed.n;
                    name->n_failures = 0;
                    use = (Use){printed, at + filled.end + carried.taken, false};
                }
            }
        }
    }
    free_groups(&behind);
    x->depth--;
    x->counts = counts;
    x->met_opaque = met_opaque;
    return use;
}

Use use_macro(Expander* x, Name* name, Macro* macro, Groups* groups, i32 at) {
    Use stays = {.end = MISSING};
    Template* template = known_template(x, name);
    if (!template) template = template_for(x, name, macro);
    if (!template || template->is_incomplete) {
        Use use = carried_out(x, name, macro, groups, at);
        if (use.end != MISSING) return use;
    }
    if (!template || template->n_bytes > x->output_budget) return stays;
    if (!macro->n_args) {
        Text new = template->literals[0];
        x->output_budget -= new.n;
        // In `\R{}` the group only keeps TeX from skipping a blank, which is not skipped here.
        bool is_empty_group = starts_with(groups->text, at, TEXT("{}")) &&
                              byte_at(groups->text, at + 2) != '_' && byte_at(groups->text, at + 2) != '^';
        return (Use){new, is_empty_group && !ends_in_control_word(new) ? at + 2 : at,
                     template->is_incomplete};
    }
    Text arguments[MAX_ARGUMENTS];
    i32 end = plain_arguments(macro, groups, at, arguments);
    if (end == MISSING) return stays;
    for (i32 n = 0; n < macro->n_args; n++)
        if (x->depth < MAX_DEPTH && x->work_budget > 0) arguments[n] = expanded_part(x, arguments[n]);
    if (filled_bytes(template, arguments, macro->n_args) > x->output_budget) {
        x->output_budget = -1;  // all following uses stay
        return stays;
    }
    Text filled = fill_template(template, arguments, macro->n_args);
    x->output_budget -= filled.n;
    return (Use){filled, end, template->is_incomplete};
}
