"""The rules that clean LaTeX, in C compiled to WebAssembly: comments, conditionals, macros, layout, blanks.

Read `document.c` first: it says in which order a paper goes through the passes. `wasm.py` runs the module
`core.wasm`, and `build.py` makes it. docs/core.md explains the tables and the limits.
"""
