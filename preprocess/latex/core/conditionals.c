// Decides `\iffalse`, `\iftrue` and the paper's own `\newif` switches; other conditionals stay.
#include "passes.h"

enum { NO, YES, UNKNOWN };  // the value of a conditional; UNKNOWN: only TeX can decide
enum { MAX_NAME_BYTES = 64 };
static const Text BEGIN_DOCUMENT = {(const u8*)"\\begin{document}", 16};
// Conditionals of TeX, and those that packages define with \newif. Only these have a \fi: `\iff`,
// `\ifthenelse` and the many \if... commands of packages that take arguments have none.
static const char PRIMITIVES[] =
    " if iftrue iffalse ifx ifnum ifdim ifodd ifcat ifcase ifmode ifvmode ifhmode ifmmode ifinner ifvoid "
    "ifhbox"
    " ifvbox ifeof ifdefined ifcsname iffontchar ifincsname ifpdf ifPDFTeX ifLuaTeX ifXeTeX ifxetex ifluatex"
    " if@twocolumn if@twoside if@filesw ";

// A conditional whose `\fi` has not been reached. `name`: the switch that it tests, if it is in a macro's
// body: then the value where the macro is used counts.
typedef struct {
    i32 start, end, value, else_start, else_end;
    Name* name;
} Open;

typedef struct {
    Open branch;
    i32 fi_start, fi_end;
} Closed;

typedef struct {
    i32 start, end;
} Span;

typedef struct {
    void* items;
    i32 n, room;
} List;

static void* add(List* list, i64 item_bytes) {
    if (list->n == list->room) {
        i32 room = list->room ? 2 * list->room : 16;
        u8* items = allocate(room * item_bytes);
        if (list->n * item_bytes > INT32_MAX) __builtin_trap();
        copy(items, list->items, (i32)(list->n * item_bytes));
        release(list->items, list->room * item_bytes);
        list->items = items;
        list->room = room;
    }
    return (u8*)list->items + list->n++ * item_bytes;
}

typedef struct {
    Text text;
    Names switches;
    i32 *opened, *closed, n_opened, n_closed;  // the offsets of all braces
    bool has_braces;
    List cuts;  // of Span
} Switches;

// ---------------------------------------------------------------- the paper's switches

// The name behind `\if` at `at`; empty if it is too long or there is none.
static Text switch_name(Text text, i32 at) {
    if (!starts_with(text, at, TEXT("\\if"))) return (Text){0};
    i32 end = skip(text, at + 3, LETTER | AT_SIGN);
    return end - at - 3 > MAX_NAME_BYTES ? (Text){0} : part(text, at + 3, end);
}

// `\newif\ifdraft` at a backslash.
static Text declared_switch(Text text, i32 at) {
    return starts_with(text, at, TEXT("\\newif")) ? switch_name(text, skip(text, at + 6, SPACE)) : (Text){0};
}

// `\iftrue` or `\iffalse` at `at`; UNKNOWN where there is neither.
static i32 constant_at(Text text, i32 at) {
    return starts_with(text, at, TEXT("\\iftrue"))    ? YES
           : starts_with(text, at, TEXT("\\iffalse")) ? NO
                                                      : UNKNOWN;
}

static i32 constant_end(Text text, i32 at) { return at + (constant_at(text, at) == YES ? 7 : 8); }

static i32 behind_equals(Text text, i32 at) {
    at = skip(text, at, SPACE);
    return skip(text, at + (byte_at(text, at) == '='), SPACE);
}

// `\let\ifdraft=\iftrue` at a backslash: the name, and its value.
static Text aliased_switch(Text text, i32 at, i32* value) {
    if (!starts_with(text, at, TEXT("\\let"))) return (Text){0};
    i32 start = skip(text, at + 4, SPACE);
    Text name = switch_name(text, start);
    i32 constant = behind_equals(text, start + 3 + name.n);
    *value = name.n ? constant_at(text, constant) : UNKNOWN;
    return *value == UNKNOWN || in_name(byte_at(text, constant_end(text, constant))) ? (Text){0} : name;
}

static void find_switches(Switches* s) {
    Text text = s->text;
    bool has_constants = false;
    for (i32 at = 0; (at = find(text, at, TEXT("\\if"))) != MISSING && !has_constants; at += 3)
        has_constants = constant_at(text, at) != UNKNOWN;
    for (i32 at = 0; (at = find(text, at, TEXT("\\newif"))) != MISSING; at += 6) {
        Text name = declared_switch(text, at);
        if (name.n) make_name(&s->switches, name, TEXT(""));
    }
    for (i32 at = 0, value; has_constants && (at = find(text, at, TEXT("\\let"))) != MISSING; at += 4) {
        Text name = aliased_switch(text, at, &value);
        if (name.n) make_name(&s->switches, name, TEXT(""));
    }
    s->switches.n_macros = has_constants;
}

// ---------------------------------------------------------------- braces

static void find_braces(Switches* s) {
    s->has_braces = true;
    for (i32 at = 0; at < s->text.n; at++) {
        s->n_opened += s->text.bytes[at] == '{';
        s->n_closed += s->text.bytes[at] == '}';
    }
    s->opened = allocate(4 * (i64)s->n_opened + 4);
    s->closed = allocate(4 * (i64)s->n_closed + 4);
    i32 n_opened = 0, n_closed = 0;
    for (i32 at = 0; at < s->text.n; at++) {
        if (s->text.bytes[at] == '{') s->opened[n_opened++] = at;
        if (s->text.bytes[at] == '}') s->closed[n_closed++] = at;
    }
}

static i32 first_from(const i32* offsets, i32 n, i32 at) {
    i32 low = 0, high = n;
    while (low < high) {
        i32 middle = (low + high) / 2;
        if (offsets[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Whether [start, end) contains one brace of a group without the other.
static bool are_split(Switches* s, i32 start, i32 end) {
    if (!s->has_braces) find_braces(s);
    i32 open = first_from(s->opened, s->n_opened, start), close = first_from(s->closed, s->n_closed, start);
    i32 n_opened = first_from(s->opened, s->n_opened, end) - open;
    i32 n_closed = first_from(s->closed, s->n_closed, end) - close;
    if (end <= start) return false;
    return n_opened != n_closed || (n_opened && s->closed[close] < s->opened[open]);
}

// ---------------------------------------------------------------- tokens

typedef struct {
    enum { NONE, DECLARED, OPENED, SET, ELSE, FI } kind;
    i32 end;
    Name* name;  // of the switch that is tested or set
    i32 value;  // to which it is set, or that a conditional has
} Token;

// `\newif\if...`, `\let\if...=\iftrue`, `\def\if...`, `\global\let\if...` at a backslash; MISSING if it is
// none.
static i32 declaration_end(Text text, i32 at) {
    i32 end;
    if (starts_with(text, at, TEXT("\\newif"))) {
        end = at + 6;
    } else if (starts_with(text, at, TEXT("\\let")) || starts_with(text, at, TEXT("\\def"))) {
        end = at + 4;
    } else if (starts_with(text, at, TEXT("\\global"))) {
        end = skip(text, at + 7, SPACE);
        if (!starts_with(text, end, TEXT("\\let"))) return MISSING;
        end += 4;
    } else {
        return MISSING;
    }
    end = skip(text, end, SPACE);
    if (!starts_with(text, end, TEXT("\\if")) || !in_name(byte_at(text, end + 3))) return MISSING;
    end = skip(text, end + 3, LETTER | AT_SIGN);
    i32 constant = behind_equals(text, end);
    if (constant_at(text, constant) == UNKNOWN || in_name(byte_at(text, constant_end(text, constant))))
        return end;
    return constant_end(text, constant);
}

static Token token_at(Switches* s, i32 at) {
    Text text = s->text;
    Token token = {.kind = NONE, .end = MISSING, .value = UNKNOWN};
    int first = byte_at(text, at + 1);
    if (!is_letter(first) && first != '@') return token;
    if (first == 'n' || first == 'l' || first == 'd' || first == 'g') {
        token.end = declaration_end(text, at);
        if (token.end != MISSING) {
            token.kind = DECLARED;
            return token;
        }
    }
    token.end = skip(text, at + 1, LETTER | AT_SIGN);
    Text name = part(text, at + 1, token.end);
    if (starts_with(name, 0, TEXT("if"))) {
        token.name = s->switches.n_slots ? find_name(&s->switches, part(name, 2, name.n), TEXT("")) : 0;
        if (equal(name, TEXT("iftrue"))) token.value = YES;
        if (equal(name, TEXT("iffalse"))) token.value = NO;
        if (token.name || is_among(name, PRIMITIVES)) {
            token.kind = OPENED;
            return token;
        }
    }
    bool is_true = name.n > 4 && starts_with(name, name.n - 4, TEXT("true"));
    bool is_false = name.n > 5 && starts_with(name, name.n - 5, TEXT("false"));
    if (s->switches.n_slots && (is_true || is_false)) {
        token.name = find_name(&s->switches, part(name, 0, name.n - (is_true ? 4 : 5)), TEXT(""));
        token.value = is_true ? YES : NO;
        if (token.name) {
            token.kind = SET;
            return token;
        }
    }
    token.kind = equal(name, TEXT("else")) ? ELSE : equal(name, TEXT("fi")) ? FI : NONE;
    return token;
}

// ---------------------------------------------------------------- cuts

static void add_cut(Switches* s, i32 start, i32 end) {
    *(Span*)add(&s->cuts, sizeof(Span)) = (Span){start, end};
}

// The spans to remove for a conditional; none if a group would lose a brace (`\def\hide{\iffalse}`).
static void add_cuts(Switches* s, Open branch, i32 fi_start, i32 fi_end) {
    Span spans[2];
    int n = 2;
    bool has_else = branch.else_start >= 0;
    if (branch.value == YES) {
        spans[0] = (Span){branch.start, branch.end};
        spans[1] = (Span){has_else ? branch.else_start : fi_start, fi_end};
    } else if (has_else) {
        spans[0] = (Span){branch.start, branch.else_end};
        spans[1] = (Span){fi_start, fi_end};
    } else {
        spans[0] = (Span){branch.start, fi_end};
        n = 1;
    }
    for (int i = 0; i < n; i++)
        if (are_split(s, spans[i].start, spans[i].end)) return;
    for (int i = 0; i < n; i++) add_cut(s, spans[i].start, spans[i].end);
}

static void find_cuts(Switches* s) {
    Text text = s->text;
    i32 body = find(text, 0, BEGIN_DOCUMENT);
    i32 depth = 0, counted = 0;  // depth of braces up to `counted`, in the preamble
    i32 skipped = 0;  // open conditionals that are in a branch that is not taken
    bool is_in_document = false;
    List stack = {0}, deferred = {0};
    for (i32 start = 0, next; (start = find_byte(text, start, '\\')) != MISSING; start = next) {
        Token token = token_at(s, start);
        next = token.kind == NONE ? start + 1 : token.end;
        if (token.kind == NONE || is_escaped(text, start)) continue;
        if (start < body) {
            for (; counted < start; counted++)
                depth += (text.bytes[counted] == '{') - (text.bytes[counted] == '}');
        }
        bool is_in_macro = start < body && depth > 0;  // a group in the preamble is a macro's body
        if (!is_in_document && start > body) {
            is_in_document = true;  // the values at the beginning of the paper's body
            for (i32 n = 0; n < s->switches.n_slots; n++)
                if (s->switches.slots[n]) s->switches.slots[n]->until = s->switches.slots[n]->value;
        }
        Open* top = stack.n ? (Open*)stack.items + stack.n - 1 : 0;
        if (token.kind == OPENED) {
            bool waits = is_in_macro && token.name;
            i32 value = waits                                   ? UNKNOWN
                        : token.value != UNKNOWN || !token.name ? token.value
                                                                : token.name->value;
            Open opened = {start, token.end, value, MISSING, MISSING, waits ? token.name : 0};
            *(Open*)add(&stack, sizeof(Open)) = opened;
            skipped += value == NO;
        } else if (token.kind == ELSE && top && top->else_start < 0) {
            top->else_start = start;
            top->else_end = token.end;
            skipped += (top->value == YES) - (top->value == NO);
        } else if (token.kind == FI && top) {
            stack.n--;
            skipped -= top->value == (top->else_start >= 0 ? YES : NO);
            if (top->name && !skipped)
                *(Closed*)add(&deferred, sizeof(Closed)) = (Closed){*top, start, token.end};
            else if (top->value != UNKNOWN && !skipped)
                add_cuts(s, *top, start, token.end);
        } else if (token.kind == DECLARED && !skipped) {
            i32 value;
            Text alias = aliased_switch(text, start, &value);
            Name* name = alias.n && s->switches.n_slots ? find_name(&s->switches, alias, TEXT("")) : 0;
            if (name) name->value = value;
            if (alias.n || declared_switch(text, start).n) add_cut(s, start, token.end);
        } else if (token.kind == SET && !skipped) {
            if (!is_in_macro) token.name->value = token.value;
            add_cut(s, start, token.end);
        }
    }
    for (i32 n = 0; n < deferred.n; n++) {
        Closed closed = ((Closed*)deferred.items)[n];
        closed.branch.value = is_in_document ? closed.branch.name->until : closed.branch.name->value;
        add_cuts(s, closed.branch, closed.fi_start, closed.fi_end);
    }
    release(stack.items, stack.room * (i64)sizeof(Open));
    release(deferred.items, deferred.room * (i64)sizeof(Closed));
}

static bool is_before(Span one, Span other) {
    return one.start != other.start ? one.start < other.start : one.end < other.end;
}

static void sort(Span* spans, i32 n) {  // by merging
    Span* other = allocate(n * (i64)sizeof(Span) + 1);
    for (i32 width = 1; width < n; width *= 2) {
        for (i32 start = 0; start < n; start += 2 * width) {
            i32 middle = start + width < n ? start + width : n,
                end = start + 2 * width < n ? start + 2 * width : n;
            i32 left = start, right = middle;
            for (i32 at = start; at < end; at++)
                other[at] = left < middle && (right == end || !is_before(spans[right], spans[left]))
                                ? spans[left++]
                                : spans[right++];
        }
        for (i32 at = 0; at < n; at++) spans[at] = other[at];
    }
    release(other, n * (i64)sizeof(Span) + 1);
}

// `text` without the branches that are not taken, for conditionals whose value is known.
Text resolve_conditionals(Text text, i64* removed) {
    if (find(text, 0, TEXT("\\if")) == MISSING) return text;
    Switches s = {.text = text};
    find_switches(&s);
    if (!s.switches.n_macros && !s.switches.n_names) return text;
    find_cuts(&s);
    Rewriter out = rewriter_of(text);
    Span* cuts = s.cuts.items;
    if (s.cuts.n) sort(cuts, s.cuts.n);
    for (i32 n = 0; n < s.cuts.n; n++)
        if (cuts[n].start >= out.at) cut(&out, cuts[n].start, cuts[n].end, CONDITIONALS);
    return finish_pass(&out, removed);
}
