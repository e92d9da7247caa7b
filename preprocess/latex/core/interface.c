// What Python calls: it writes a text into memory, calls `clean`, and reads the result.
#include "document.h"

static struct {                                    // RESULT in core.py
    u32 text, text_bytes;                          // the clean text
    u32 n_replaced, n_left;                        // uses of macros
    u32 names, names_bytes;
    i32 removed[N_CAUSES];
} result;

// Makes what all papers share. Called once, before anything else.
__attribute__((export_name("begin"))) void begin(void) {
    reset_memory();
    make_layout_rules();
    keep_memory();
}

// Frees the memory of the last paper; room for the text of the next one.
__attribute__((export_name("room_for"))) u32 room_for(u32 n_bytes) {
    reset_memory();
    return (u32)(uintptr_t)allocate((i64)n_bytes + 16);
}

// Cleans the text at `bytes`; where `result` is.
__attribute__((export_name("clean"))) u32 clean(u32 bytes, u32 n_bytes, u32 expands_macros, u32 drops_front_matter,
                                                u32 figures, u32 tables, u32 algorithms, u32 bibliography) {
    Options options = {expands_macros, drops_front_matter, figures, tables, algorithms, bibliography};
    Cleaned clean = clean_document((Text){(const u8 *)(uintptr_t)bytes, (i32)n_bytes}, &options);
    result.text = (u32)(uintptr_t)clean.text.bytes;
    result.text_bytes = (u32)clean.text.n;
    result.n_replaced = (u32)clean.expander->n_replaced;
    result.n_left = (u32)clean.expander->n_left;
    result.names = (u32)(uintptr_t)clean.names_left.bytes;
    result.names_bytes = (u32)clean.names_left.n;
    for (int n = 0; n < N_CAUSES; n++) result.removed[n] = (i32)clean.removed[n];
    return (u32)(uintptr_t)&result;
}
