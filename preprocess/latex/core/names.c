// Tables of names.
#include "core.h"

#include <wasm_simd128.h>

#define NO_BYTES 0x811C9DC5u
static u32 hash_byte(u32 hash, u8 byte) { return (hash ^ byte) * 0x01000193u; }  // FNV-1a

static u32 hash_of(u32 hash, Text text) {
    for (i32 n = 0; n < text.n; n++) hash = hash_byte(hash, text.bytes[n]);
    return hash;
}

static Name** slot_of(const Names* names, u32 hash, Text start, Text end) {
    u32 mask = (u32)names->n_slots - 1;
    for (u32 at = (hash ^ hash >> 15) & mask;; at = (at + 1) & mask) {
        Name* name = names->slots[at];
        if (!name) return &names->slots[at];
        if (name->hash == hash && name->name.n == start.n + end.n && starts_with(name->name, 0, start) &&
            starts_with(name->name, start.n, end))
            return &names->slots[at];
    }
}

Name* find_name(const Names* names, Text start, Text end) {
    return *slot_of(names, hash_of(hash_of(NO_BYTES, start), end), start, end);
}

static void grow(Names* names) {
    Names larger = {.n_slots = names->n_slots ? 2 * names->n_slots : 1024};
    larger.slots = allocate((i64)larger.n_slots * (i64)sizeof(Name*));
    for (i32 n = 0; n < larger.n_slots; n++) larger.slots[n] = 0;
    for (i32 n = 0; n < names->n_slots; n++) {
        Name* name = names->slots[n];
        if (name) *slot_of(&larger, name->hash, name->name, TEXT("")) = name;
    }
    release(names->slots, (i64)names->n_slots * (i64)sizeof(Name*));
    names->slots = larger.slots;
    names->n_slots = larger.n_slots;
}

Name* make_name(Names* names, Text start, Text end) {
    if (2 * names->n_names >= names->n_slots) grow(names);
    u32 hash = hash_of(hash_of(NO_BYTES, start), end);
    Name** slot = slot_of(names, hash, start, end);
    if (*slot) return *slot;
    Name* name = take(&kept, sizeof(Name));
    Text pieces[2] = {start, end};
    *name = (Name){.name = join(&kept, pieces, 2), .hash = hash, .template_age = MISSING};
    names->n_names++;
    if (byte_at(name->name, 0) == '\\') mark_beginning(names->beginnings, part(name->name, 1, name->name.n));
    return *slot = name;
}

// A command of one letter may be followed by anything: all pairs that begin with it are marked.
void mark_beginning(u64* beginnings, Text name) {
    int first = byte_at(name, 0), second = byte_at(name, 1);
    for (int n = 0; n < 32; n++) {
        u32 bit = (u32)(first & 31) << 5 | (u32)((second < 0 ? n : second) & 31);
        beginnings[bit >> 6] |= (u64)1 << (bit & 63);
    }
}

i32 find_beginning(const u64* beginnings, Text text, i32 at) {
    v128_t backslash = wasm_i8x16_splat('\\');
    for (; at + 18 <= text.n; at += 16) {
        const u8* here = text.bytes + at;
        for (u32 hits = wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(here), backslash)); hits;
             hits &= hits - 1) {
            i32 n = __builtin_ctz(hits);
            if (is_beginning(beginnings, here[n + 1], here[n + 2])) return at + n;
        }
    }
    for (; at < text.n; at++)
        if (text.bytes[at] == '\\' && is_beginning(beginnings, byte_at(text, at + 1), byte_at(text, at + 2)))
            return at;
    return MISSING;
}

Name* command_at(const Names* names, Text text, i32 start, i32* end) {
    u32 hash = hash_byte(NO_BYTES, '\\');
    i32 at = start + 1;
    for (; at < text.n && in_name(text.bytes[at]); at++) hash = hash_byte(hash, text.bytes[at]);
    if (at == start + 1) {
        *end = at < text.n ? at + 1 : MISSING;
        if (*end == MISSING) return 0;
        hash = hash_byte(hash, text.bytes[at++]);
    }
    *end = at;
    return *slot_of(names, hash, part(text, start, at), TEXT(""));
}
