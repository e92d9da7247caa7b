// Verbatim text, in which nothing is a command or a comment.
#include "passes.h"

static const char ENVIRONMENTS[] =
    " verbatim verbatim* Verbatim Verbatim* BVerbatim LVerbatim SaveVerbatim lstlisting minted alltt"
    " verbatimtab boxedverbatim spverbatim filecontents filecontents* comment ";
// The commands of `event_at`.
static const Text COMMANDS[] = {
    {(const u8*)"verb", 4}, {(const u8*)"lstinline", 9}, {(const u8*)"mintinline", 10},
    {(const u8*)"url", 3},  {(const u8*)"path", 4},      {(const u8*)"nolinkurl", 9},
    {(const u8*)"href", 4}, {(const u8*)"begin", 5},
};
static const Text BEGIN_DOCUMENT = {(const u8*)"\\begin{document}", 16};
// Commands by which a paper defines further ones.
static const Text OWN[] = {
    {(const u8*)"lstnewenvironment", 17},
    {(const u8*)"DefineVerbatimEnvironment", 25},
    {(const u8*)"newtcblisting", 13},
    {(const u8*)"excludecomment", 14},
};
enum { MAX_NAME_BYTES = 64 };

static void define_own(Lexer* lexer, Text preamble, Text definer) {
    for (i32 at = 0; (at = find(preamble, at, definer)) != MISSING; at += definer.n) {
        Text text = lexer->text;
        if (!at || text.bytes[at - 1] != '\\') continue;
        i32 brace = skip(preamble, at + definer.n, SPACE);
        if (byte_at(preamble, brace) == '[') {
            i32 end = brace + 1;
            while (end < preamble.n && preamble.bytes[end] != '[' && preamble.bytes[end] != ']') end++;
            if (byte_at(preamble, end) == ']') brace = skip(preamble, end + 1, SPACE);
        }
        if (byte_at(preamble, brace) != '{') continue;
        i32 end = skip(preamble, brace + 1, LETTER);
        Text name = part(preamble, brace + 1, end);
        if (!name.n || name.n > MAX_NAME_BYTES || byte_at(preamble, end) != '}') continue;
        make_name(&lexer->environments, name, TEXT(""));
        lexer->has_own = true;
    }
}

// Marks the environments whose content is a comment.
static void mark_excluded(Lexer* lexer) {
    Text text = lexer->text;
    const Text definer = TEXT("\\excludecomment"),
               builtin[] = {TEXT("comment"), TEXT("filecontents"), TEXT("filecontents*")};
    for (int n = 0; n < 3; n++) find_name(&lexer->environments, builtin[n], TEXT(""))->rule = EXCLUDED;
    for (i32 at = 0; lexer->has_own && (at = find(text, at, definer)) != MISSING; at++) {
        i32 brace = skip(text, at + definer.n, SPACE);
        i32 end = skip(text, brace + 1, LETTER);
        if (byte_at(text, brace) != '{' || byte_at(text, end) != '}') continue;
        Name* name = find_name(&lexer->environments, part(text, brace + 1, end), TEXT(""));
        if (name) name->rule = EXCLUDED;
    }
}

Lexer lexer_of(Text text) {
    Lexer lexer = {.text = text};
    const u8* at = (const u8*)ENVIRONMENTS;
    while (at[0] && at[1]) {
        i32 n = 0;
        while (at[1 + n] != ' ') n++;
        make_name(&lexer.environments, (Text){at + 1, n}, TEXT(""));
        at += 1 + n;
    }
    for (u32 n = 0; n < sizeof COMMANDS / sizeof *COMMANDS; n++)
        mark_beginning(lexer.beginnings, COMMANDS[n]);
    return lexer;
}

void look_for(Lexer* lexer, Text command) {
    make_name(&lexer->commands, command, TEXT(""));
    mark_beginning(lexer->beginnings, part(command, 1, command.n));
}

void read_own_environments(Lexer* lexer) {
    Text text = lexer->text;
    i32 body = find(text, 0, BEGIN_DOCUMENT);
    for (u32 n = 0; n < sizeof OWN / sizeof *OWN; n++)
        define_own(lexer, part(text, 0, body == MISSING ? text.n : body), OWN[n]);
    mark_excluded(lexer);
}

// The end of a group on one line that contains at most one level of groups.
static i32 group_on_line_end(Text text, i32 at) {
    if (byte_at(text, at) != '{') return MISSING;
    int depth = 0;
    for (; at < text.n && text.bytes[at] != '\n'; at++) {
        if (text.bytes[at] == '{' && ++depth > 2) return MISSING;
        if (text.bytes[at] == '}' && !--depth) return at + 1;
    }
    return MISSING;
}

// The end of text between two equal characters on a line, the first of which is at `at`.
static i32 delimited_end(Text text, i32 at) {
    u8 delimiter = text.bytes[at++];
    for (; at < text.n && text.bytes[at] != '\n'; at++)
        if (text.bytes[at] == delimiter) return at + 1;
    return MISSING;
}

// The end of an [option] on one line and what follows it: text between two equal characters, or a group.
static i32 marked_end(Text text, i32 at) {
    if (byte_at(text, at) == '[') {
        i32 end = at + 1;
        while (end < text.n && text.bytes[end] != '[' && text.bytes[end] != ']' && text.bytes[end] != '\n')
            end++;
        if (byte_at(text, end) != ']') return MISSING;
        at = end + 1;
    }
    int first = byte_at(text, at);
    if (first == '{') return group_on_line_end(text, at);
    if (first < 0 || is_space(first) || is_letter(first) || first == '*' || first == '[') return MISSING;
    return delimited_end(text, at);
}

static i32 minted_end(Text text, i32 at) {
    if (byte_at(text, at) == '[') {
        i32 end = at + 1;
        while (end < text.n && text.bytes[end] != '[' && text.bytes[end] != ']' && text.bytes[end] != '\n')
            end++;
        if (byte_at(text, end) == ']') at = end + 1;
    }
    at = skip(text, at, SPACE);
    if (byte_at(text, at) != '{') return MISSING;
    at = skip(text, at + 1, LETTER | DIGIT | UNDERSCORE);
    return byte_at(text, at) == '}' ? marked_end(text, at + 1) : MISSING;
}

static i32 verb_end(Text text, i32 at) {
    if (byte_at(text, at) == '*') at++;
    int first = byte_at(text, at);
    return first < 0 || is_space(first) || is_letter(first) || first == '*' ? MISSING
                                                                            : delimited_end(text, at);
}

// The verbatim text whose command begins at a backslash; of an environment only its \begin.
static Event event_at(Lexer* lexer, i32 start) {
    Text text = lexer->text;
    Event none = {.kind = NO_EVENT}, found = {.start = start, .end = MISSING};
    i32 at = start + 1;
    switch (byte_at(text, at)) {
        case 'v':
            if (!starts_with(text, at, TEXT("verb"))) return none;
            found.kind = VERB;
            found.end = verb_end(text, at + 4);
            break;
        case 'l':
            if (!starts_with(text, at, TEXT("lstinline"))) return none;
            found.kind = VERB;
            found.end = marked_end(text, at + 9);
            break;
        case 'm':
            if (!starts_with(text, at, TEXT("mintinline"))) return none;
            found.kind = VERB;
            found.end = minted_end(text, at + 10);
            break;
        case 'u':
        case 'p':
        case 'n':
        case 'h': {
            const Text urls[] = {TEXT("url"), TEXT("path"), TEXT("nolinkurl"), TEXT("href")};
            for (int n = 0; n < 4; n++)
                if (starts_with(text, at, urls[n]))
                    found.end = marked_end(text, skip(text, at + urls[n].n, SPACE));
            found.kind = URL;
            break;
        }
        case 'b': {
            if (!starts_with(text, at, TEXT("begin"))) return none;
            i32 brace = skip(text, at + 5, SPACE), end = brace + 1;
            if (byte_at(text, brace) != '{') return none;
            while (end < text.n && end - brace <= MAX_NAME_BYTES && text.bytes[end] != '}') end++;
            if (byte_at(text, end) != '}') return none;
            found.environment = find_name(&lexer->environments, part(text, brace + 1, end), TEXT(""));
            if (!found.environment) return none;
            found.kind = ENVIRONMENT_EVENT;
            found.end = end + 1;
            break;
        }
        default:
            return none;
    }
    return found.end == MISSING ? none : found;
}

// The command that begins at a backslash, if the lexer looks for it: by its name, or by name and argument.
static Event command_event(const Lexer* lexer, i32 start) {
    Text text = lexer->text;
    Event event = {.kind = NO_EVENT, .start = start};
    if (!may_be_known(&lexer->commands, text, start)) return event;
    Name* name = command_at(&lexer->commands, text, start, &event.end);
    if (!name && event.end != MISSING) {
        i32 brace = skip(text, event.end, SPACE), end = skip(text, brace + 1, LETTER) + 1;
        if (byte_at(text, brace) != '{' || byte_at(text, end - 1) != '}') return event;
        name = find_name(&lexer->commands, part(text, start, event.end), part(text, brace, end));
        event.end = end;
    }
    if (name) event.kind = COMMAND;
    return event;
}

static bool is_in_comment(Text text, i32 from, i32 at) {
    i32 line = at;
    while (line > from && text.bytes[line - 1] != '\n') line--;
    Text before = part(text, 0, at);
    for (i32 sign = line; (sign = find_byte(before, sign, '%')) != MISSING; sign++)
        if (!is_escaped(text, sign)) return true;
    return false;
}

// The offset behind a verbatim environment, or behind its \begin where it is never closed.
static i32 environment_end(Text text, Event opening) {
    Name* name = opening.environment;
    if (!name->is_unclosed) {
        Arena mark = scratch;
        Text pieces[3] = {TEXT("\\end{"), name->name, TEXT("}")}, closer = join(&scratch, pieces, 3);
        i32 end = find(text, opening.end, closer);
        back_to(&scratch, mark);
        if (end != MISSING) return end + closer.n;
        name->is_unclosed = true;
    }
    return opening.end;
}

Event next_event(Lexer* lexer) {
    Text text = lexer->text;
    for (i32 start = lexer->at; (start = find_beginning(lexer->beginnings, text, start)) != MISSING;) {
        Event event = event_at(lexer, start);
        if (event.kind == NO_EVENT && lexer->commands.n_names) event = command_event(lexer, start);
        if (event.kind == NO_EVENT || is_escaped(text, start)) {
            start++;
            continue;
        }
        if (is_in_comment(text, lexer->at, start)) {
            start = find_byte(text, start, '\n');
            if (start == MISSING) break;
            lexer->at = start;
            continue;
        }
        i32 opening_end = event.end;
        if (event.kind == ENVIRONMENT_EVENT) event.end = environment_end(text, event);
        lexer->at = start = event.end;
        if (event.kind != ENVIRONMENT_EVENT || event.end > opening_end) return event;
    }
    return (Event){.kind = NO_EVENT};
}
