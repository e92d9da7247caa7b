// What all files of the compiled core share: texts, memory, groups, and the rewriter.
//
// A text is bytes in UTF-8; every character with a meaning in TeX is ASCII. Offsets count bytes from the
// start of a text. A function that returns an offset returns MISSING where there is none.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef uint8_t u8;
typedef int32_t i32;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;

#define MISSING (-1)

typedef struct {
    const u8* bytes;
    i32 n;
} Text;

#define TEXT(literal) ((Text){(const u8*)(literal), (i32)sizeof(literal) - 1})

static inline Text part(Text text, i32 start, i32 end) {
    return (Text){text.bytes + start, end > start ? end - start : 0};
}

// The byte at an offset, and -1 behind the end.
static inline int byte_at(Text text, i32 at) { return at < text.n ? text.bytes[at] : -1; }

// ---------------------------------------------------------------- characters (characters.c)

enum { LETTER = 1, AT_SIGN = 2, SPACE = 4, DIGIT = 8, UNDERSCORE = 16, BLANK = 32, LOWER = 64 };
extern const u8 KINDS[256];

static inline bool is_kind(int byte, int kinds) { return byte >= 0 && (KINDS[byte] & kinds) != 0; }
static inline bool is_letter(int byte) { return is_kind(byte, LETTER); }
static inline bool in_name(int byte) { return is_kind(byte, LETTER | AT_SIGN); }
static inline bool is_space(int byte) { return is_kind(byte, SPACE); }

i32 skip(Text text, i32 at, int kinds);            // the offset behind a run of characters of these kinds
i32 skip_blanks(Text text, i32 at);                // behind blanks with one line end at most
i32 find_byte(Text text, i32 at, u8 byte);         // the next such byte
i32 find(Text text, i32 at, Text what);            // the next such text
bool starts_with(Text text, i32 at, Text what);
bool equal(Text one, Text other);
Text strip_end(Text text);                         // without white space at its end
Text strip_start(Text text);
Text strip(Text text);
bool is_escaped(Text text, i32 at);                // an odd number of backslashes precedes
bool ends_in_control_word(Text text);              // a following letter would extend its name
i32 command_end(Text text, i32 at);                // behind the command at a backslash
bool is_among(Text name, const char* names);       // `names` are separated and enclosed by single blanks

// ---------------------------------------------------------------- memory (memory.c)

// All memory is given back at once when the next paper begins, apart from what was taken before
// `keep_memory`. The first `n_bytes` behind that are the text of a paper.
void reset_memory(u32 n_bytes);
u8* keep_memory(void);
void* allocate(i64 n_bytes);                       // give back with `release`; traps if no memory is left
void release(void* memory, i64 n_bytes);
void copy(u8* to, const u8* from, i32 n);

typedef struct Chunk Chunk;
typedef struct {
    Chunk* chunk;
    i64 used;
} Arena;
extern Arena kept, scratch;                        // until the end of the paper; until `back_to`

void* take(Arena* arena, i64 n_bytes);
Text take_copy(Arena* arena, Text text);
Text join(Arena* arena, const Text* pieces, i32 n_pieces);
void back_to(Arena* arena, Arena mark);            // frees what was taken since `mark = *arena`

typedef struct {
    u8* bytes;
    i32 n;
    i32 room;
} Buffer;

void append(Buffer* buffer, Text piece);
void free_buffer(Buffer* buffer);
static inline Text text_of(const Buffer* buffer) { return (Text){buffer->bytes, buffer->n}; }

// ---------------------------------------------------------------- groups (groups.c)

typedef struct {
    Text text;
    i32 bare_start, bare_end;                      // a span known to hold no `]`, `{` and `}`
    i32* pairs;                                    // (offset of `{`, offset behind its `}`), ascending
    i32 n_pairs, room;
    bool is_paired;
} Groups;

typedef struct {
    Text content;
    i32 end;                                       // MISSING where there is no such argument
} Argument;

static inline Groups groups_of(Text text) { return (Groups){.text = text}; }
void free_groups(Groups* groups);
i32 group_end(Groups* groups, i32 start);          // behind the group that opens at `start`
Argument group_at(Groups* groups, i32 at);         // a {group}, after blanks and one line end at most
Argument argument_at(Groups* groups, i32 at);      // a group, a command or one character
Argument option_at(Groups* groups, i32 at);        // an [option] whose braces are balanced
i32 shallow_group_end(Text text, i32 at);          // of a group with at most two levels of groups in it

// ---------------------------------------------------------------- names (names.c)

enum Cause {                                       // in the order of CAUSES in wasm.py
    CONTROL_CHARACTERS,
    COMMENTS,
    COMMENT_ENVIRONMENTS,
    VERBATIM,
    CONDITIONALS,
    PREAMBLE,
    AFTER_END_DOCUMENT,
    EXPL_REGIONS,
    MACRO_DEFINITIONS,
    MACRO_EXPANSION,
    LAYOUT,
    PROSE_LAYOUT,
    FRONT_MATTER,
    FIGURES,
    TABLES,
    ALGORITHMS,
    DRAWINGS,
    BIBLIOGRAPHY,
    WHITE_SPACE,
    N_CAUSES
};

typedef struct Macro Macro;
typedef struct Template Template;

// A name: a command as it is written (`\R`), one end of an environment (`\begin{thm`), or an environment.
typedef struct {
    Text name;
    u32 hash;
    // Of a macro:
    Macro* macro;                                  // NULL: not defined
    i32 born;                                      // number of macros that were defined before
    bool is_wanted;                                // defined somewhere in the text that is expanded
    bool is_opaque;                                // only single uses can be carried out
    i32 template_age;  // of `template`; it counts only if it is the present age
    Template* template;  // NULL while it is being expanded
    i32 n_failures;  // of carrying out a use, in a row
    i32 n_left, left_order;  // uses that stay, and their place among such names
    // Of layout, an environment or a switch:
    u8 rule;
    enum Cause cause;
    bool is_unclosed;  // no end of it follows
    i32 until;  // where the last one without a picture ends
    i32 value;  // of a switch
} Name;

typedef struct {
    Name** slots;  // by hash, with free places between
    i32 n_slots, n_names, n_macros;
    u64 beginnings[16];  // of the commands among them
} Names;

Name* find_name(const Names* names, Text start, Text end);  // the name `start` + `end`; NULL if unknown
Name* make_name(Names* names, Text start, Text end);
// The command at a backslash if it is known, and the offset behind it.
Name* command_at(const Names* names, Text text, i32 start, i32* end);

// Sets of the two characters behind a backslash with which some command begins; they rule out most commands.
void mark_beginning(u64* beginnings, Text name);  // without its backslash
i32 find_beginning(const u64* beginnings, Text text, i32 at);  // the next backslash that may begin one

static inline bool is_beginning(const u64* beginnings, int first, int second) {
    u32 bit = (u32)(first & 31) << 5 | (u32)(second & 31);
    return beginnings[bit >> 6] >> (bit & 63) & 1;
}
static inline bool may_be_known(const Names* names, Text text, i32 start) {
    return is_beginning(names->beginnings, byte_at(text, start + 1), byte_at(text, start + 2));
}

// ---------------------------------------------------------------- rewriter (rewriter.c)

typedef struct {
    Text text;
    i32 at;  // the text before this offset is done
    i32 last_piece;  // where the last piece begins in `out`
    Buffer out;
    i64 removed[N_CAUSES];  // bytes by cause, negative for added ones
} Rewriter;

static inline Rewriter rewriter_of(Text text) { return (Rewriter){.text = text, .last_piece = MISSING}; }
void replace(Rewriter* out, i32 start, i32 end, Text new, enum Cause cause);
void cut(Rewriter* out, i32 start, i32 end, enum Cause cause);
Text finish(Rewriter* out);  // in `out`, or the text itself if nothing was changed
