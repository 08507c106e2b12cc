"""What is worth labelling next, and what the labels of reviewers say. Pure: no I/O, no clock, and chance comes as an argument.

Modules: `sketches` (texts as short bit patterns), `pool` (the candidates and their ranking), `chance` (what a hash decides), `turns` (which
slice is whose turn), `opinions` (what the reviewers of an event said, and whether more are asked), `agreement` (how far they agree).
"""
