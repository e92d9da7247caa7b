// What Python calls: it writes a text into memory, calls `clean`, and reads the result.
#include "document.h"

// `interface` in wasm.py, in this order
static struct {
    u32 input;                                     // where Python writes a text
    u32 text, text_bytes;                          // the clean text
    u32 n_replaced, n_left;                        // uses of macros
    u32 names, names_bytes;                        // the macros that stay most often
    i32 removed[N_CAUSES];                         // bytes by cause
} interface;

// Makes what all papers share; where `interface` is. Called once, before anything else.
__attribute__((export_name("begin"))) u32 begin(void) {
    reset_memory(0);
    make_layout_rules();
    interface.input = (u32)(uintptr_t)keep_memory();
    return (u32)(uintptr_t)&interface;
}

// Cleans the text of `n_bytes` at `input`. The memory of the last paper is free again.
__attribute__((export_name("clean"))) void clean(u32 n_bytes, u32 expands_macros, u32 drops_front_matter,
                                                 u32 figures, u32 tables, u32 algorithms, u32 bibliography) {
    Options options = {expands_macros, drops_front_matter, figures, tables, algorithms, bibliography};
    reset_memory(n_bytes);
    Cleaned clean = clean_document((Text){(const u8*)(uintptr_t)interface.input, (i32)n_bytes}, &options);
    interface.text = (u32)(uintptr_t)clean.text.bytes;
    interface.text_bytes = (u32)clean.text.n;
    interface.n_replaced = (u32)clean.expander->n_replaced;
    interface.n_left = (u32)clean.expander->n_left;
    interface.names = (u32)(uintptr_t)clean.names_left.bytes;
    interface.names_bytes = (u32)clean.names_left.n;
    for (int n = 0; n < N_CAUSES; n++) interface.removed[n] = (i32)clean.removed[n];
}
