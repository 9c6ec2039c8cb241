"""Plain values between an untrusted program and who uses it: trusted tests, or the trainer.

Only the standard library: the fork server loads it. `encoding` and `decoding` are the values,
`peer` the frames and requests; `model_side` is the program's end, `tests_side` that of the tests,
to which the program's objects are `opaque`. `tests_text` reads tests, `tests_run` runs them.
"""
