"""The warm fork server: one process that forks a confined child for every program.

Only the standard library and ctypes: the server runs without any installed package, started by
`srpo.sandbox.local.client` through `boot.py`. Read in this order: `main` (the loop), `jobs` (a
child from fork to reply), `isolation` (what each strength does), and what that is made of:
`namespaces`, `landlock`, `seccomp` over `syscalls`, `limits`; at last `roles`, what a child does.
"""
