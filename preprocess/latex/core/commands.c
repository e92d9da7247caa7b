// Commands that make one text of several files: they include one, or end or begin its body.
#include "passes.h"

Offsets find_commands(Text text, Text names) {
    Lexer lexer = lexer_of(text);
    for (i32 at = 0, end; at < names.n; at = end + 1) {
        end = find_byte(names, at, '\n');
        if (end == MISSING) end = names.n;
        look_for(&lexer, part(names, at, end));
    }
    Buffer found = {0};
    for (Event event; (event = next_event(&lexer)).kind != NO_EVENT;)
        if (event.kind == COMMAND) append(&found, (Text){(const u8*)&event.start, sizeof event.start});
    return (Offsets){(i32*)(void*)found.bytes, found.n / (i32)sizeof(i32)};
}
