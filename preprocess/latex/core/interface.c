// What Python calls: it writes a text and a request into memory, calls a function, and reads the result.
// A call without arguments takes 8 microseconds, each argument would take 8 more.
#include "document.h"

// `_REQUEST` and `_RESULT` in wasm.py, in this order
static struct {
    u32 n_bytes, names_bytes;                      // of a text, and of the names behind it
    u32 expands_macros, drops_front_matter, figures, tables, algorithms, bibliography;
} request;

static struct {
    u32 text, text_bytes;                          // the clean text
    u32 n_replaced, n_left;                        // uses of macros
    u32 names, names_bytes;                        // the macros that stay most often
    i32 removed[N_CAUSES];                         // bytes by cause
    u32 offsets, n_offsets;                        // of commands
} result;

static struct {
    u32 input, request, result;                    // where Python writes a text, and where these are
} addresses;

// Makes what all papers share, and says where what stands. Called once, before anything else.
__attribute__((export_name("begin"))) u32 begin(void) {
    reset_memory(0);
    make_layout_rules();
    make_definers();
    addresses.input = (u32)(uintptr_t)keep_memory();
    addresses.request = (u32)(uintptr_t)&request;
    addresses.result = (u32)(uintptr_t)&result;
    return (u32)(uintptr_t)&addresses;
}

// The text to work on. The memory of the last one is free again.
static Text next_text(void) {
    reset_memory(request.n_bytes + request.names_bytes);
    return (Text){(const u8*)(uintptr_t)addresses.input, (i32)request.n_bytes};
}

__attribute__((export_name("clean"))) void clean(void) {
    Options options = {request.expands_macros, request.drops_front_matter, request.figures,
                       request.tables,         request.algorithms,         request.bibliography};
    Cleaned clean = clean_document(next_text(), &options);
    result.text = (u32)(uintptr_t)clean.text.bytes;
    result.text_bytes = (u32)clean.text.n;
    result.n_replaced = (u32)clean.expander->n_replaced;
    result.n_left = (u32)clean.expander->n_left;
    result.names = (u32)(uintptr_t)clean.names_left.bytes;
    result.names_bytes = (u32)clean.names_left.n;
    for (int n = 0; n < N_CAUSES; n++) result.removed[n] = (i32)clean.removed[n];
}

__attribute__((export_name("find_commands"))) void find_commands_in_text(void) {
    Text text = next_text();
    Offsets found = find_commands(text, (Text){text.bytes + text.n, (i32)request.names_bytes});
    result.offsets = (u32)(uintptr_t)found.offsets;
    result.n_offsets = (u32)found.n;
}
