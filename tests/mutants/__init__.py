"""Small bugs planted one at a time, to see that a test falls for each: `make mutants` (the extra `mutants`).

The operators are Cosmic Ray's. Its own commands run one test command over every mutant of a module, one after the
other, in the working tree; here a sample is wanted, over all packages, with the tests of each file, in copies, and
without importing torch anew for each. mutmut rewrites modules so that all mutants of a function lie side by side,
which neither `torch.compile` nor code that looks at signatures bears.
"""
