// Memory: blocks by powers of two, arenas, and growing buffers.
#include "core.h"

#define PAGE 65536
#define SMALLEST 4                                 // blocks have at least 2^4 bytes
#define CHUNK 65536

typedef struct Block {
    struct Block* next;
} Block;

struct Chunk {
    Chunk* before;
    i64 n_bytes;
};

extern u8 __heap_base;
static u8 *next_free, *first_free;
static Block* free_blocks[32];
Arena kept, scratch;

void reset_memory(u32 n_bytes) {
    if (!first_free) first_free = (u8*)(((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15);
    next_free = first_free + ((n_bytes + 31) & ~15u);
    for (int n = 0; n < 32; n++) free_blocks[n] = 0;
    kept = scratch = (Arena){0};
}

u8* keep_memory(void) {
    first_free = next_free;
    return first_free;
}

static int size_class(i64 n_bytes) {
    int n = SMALLEST;
    while (((i64)1 << n) < n_bytes) n++;
    return n;
}

void* allocate(i64 n_bytes) {
    int n = size_class(n_bytes);
    if (n > 30) __builtin_trap();
    if (free_blocks[n]) {
        Block* block = free_blocks[n];
        free_blocks[n] = block->next;
        return block;
    }
    u8* block = next_free;
    u64 end = (u64)(uintptr_t)block + ((u64)1 << n), size = (u64)__builtin_wasm_memory_size(0) * PAGE;
    if (end > size && __builtin_wasm_memory_grow(0, (end - size + PAGE - 1) / PAGE) == (uintptr_t)-1)
        __builtin_trap();
    next_free = block + ((u64)1 << n);
    return block;
}

void release(void* memory, i64 n_bytes) {
    if (!memory) return;
    int n = size_class(n_bytes);
    Block* block = memory;
    block->next = free_blocks[n];
    free_blocks[n] = block;
}

void copy(u8* to, const u8* from, i32 n) {
    if (n > 32) {
        __builtin_memcpy(to, from, (u32)n);
        return;
    }
    for (i32 at = 0; at < n; at++) to[at] = from[at];
}

void* take(Arena* arena, i64 n_bytes) {
    n_bytes = (n_bytes + 7) & ~(i64)7;
    if (!arena->chunk || arena->used + n_bytes > arena->chunk->n_bytes) {
        i64 size = (i64)sizeof(Chunk) + n_bytes > CHUNK ? (i64)sizeof(Chunk) + n_bytes : CHUNK;
        Chunk* chunk = allocate(size);
        *chunk = (Chunk){arena->chunk, size};
        *arena = (Arena){chunk, sizeof(Chunk)};
    }
    void* taken = (u8*)arena->chunk + arena->used;
    arena->used += n_bytes;
    return taken;
}

void back_to(Arena* arena, Arena mark) {
    while (arena->chunk != mark.chunk) {
        Chunk* chunk = arena->chunk;
        arena->chunk = chunk->before;
        release(chunk, chunk->n_bytes);
    }
    arena->used = mark.used;
}

Text join(Arena* arena, const Text* pieces, i32 n_pieces) {
    i64 n_bytes = 0;
    for (i32 n = 0; n < n_pieces; n++) n_bytes += pieces[n].n;
    if (n_bytes > INT32_MAX / 2) __builtin_trap();
    u8 *bytes = take(arena, n_bytes), *at = bytes;
    for (i32 n = 0; n < n_pieces; n++) {
        copy(at, pieces[n].bytes, pieces[n].n);
        at += pieces[n].n;
    }
    return (Text){bytes, (i32)n_bytes};
}

Text take_copy(Arena* arena, Text text) { return join(arena, &text, 1); }

void append(Buffer* buffer, Text piece) {
    i64 needed = (i64)buffer->n + piece.n;
    if (needed > buffer->room) {
        i64 room = needed < 128 ? 128 : 2 * needed;
        if (room > INT32_MAX / 2) __builtin_trap();
        u8* bytes = allocate(room);
        copy(bytes, buffer->bytes, buffer->n);
        release(buffer->bytes, buffer->room);
        buffer->bytes = bytes;
        buffer->room = (i32)room;
    }
    copy(buffer->bytes + buffer->n, piece.bytes, piece.n);
    buffer->n = (i32)needed;
}

void free_buffer(Buffer* buffer) {
    release(buffer->bytes, buffer->room);
    *buffer = (Buffer){0};
}
