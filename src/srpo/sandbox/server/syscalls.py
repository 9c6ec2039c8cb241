"""The system calls that programs may make, by their number on (x86-64, aarch64); -1: not there.

What is not listed is refused with EPERM. The x86-64 column is the one that has been run.
"""

from __future__ import annotations

Numbers = tuple[int, int]

ALLOWED: dict[str, Numbers] = {
    "read": (0, 63), "write": (1, 64), "open": (2, -1), "close": (3, 57), "stat": (4, -1),
    "fstat": (5, 80), "lstat": (6, -1), "poll": (7, -1), "lseek": (8, 62), "mmap": (9, 222),
    "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67),
    "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "access": (21, -1),
    "pipe": (22, -1), "select": (23, -1), "sched_yield": (24, 124), "mremap": (25, 216),
    "msync": (26, 227), "madvise": (28, 233), "dup": (32, 23), "dup2": (33, -1),
    "pause": (34, -1), "nanosleep": (35, 101), "getitimer": (36, 102), "alarm": (37, -1),
    "setitimer": (38, 103), "getpid": (39, 172), "sendfile": (40, 71), "sendto": (44, 206),
    "recvfrom": (45, 207), "shutdown": (48, 210), "getsockname": (51, 204),
    "getpeername": (52, 205), "setsockopt": (54, 208), "getsockopt": (55, 209),
    "exit": (60, 93), "wait4": (61, 260), "uname": (63, 160), "fcntl": (72, 25),
    "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83), "truncate": (76, 45),
    "ftruncate": (77, 46), "getdents": (78, -1), "getdents64": (217, 61),
    "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "rename": (82, -1), "mkdir": (83, -1), "rmdir": (84, -1),
    "creat": (85, -1), "link": (86, -1), "unlink": (87, -1), "symlink": (88, -1),
    "readlink": (89, -1), "chmod": (90, -1), "fchmod": (91, 52), "umask": (95, 166),
    "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165),
    "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176),
    "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173), "getpgrp": (111, -1),
    "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150),
    "getpgid": (121, 155), "getsid": (124, 156), "gettid": (186, 178),
    "sigaltstack": (131, 132), "rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137),
    "rt_sigsuspend": (130, 133), "statfs": (137, 43), "fstatfs": (138, 44), "utime": (132, -1),
    "utimes": (235, -1), "time": (201, -1), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "set_tid_address": (218, 96), "restart_syscall": (219, 128), "fadvise64": (221, 223),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "exit_group": (231, 94), "epoll_create": (213, -1), "epoll_create1": (291, 20),
    "epoll_wait": (232, -1), "epoll_ctl": (233, 21), "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441), "waitid": (247, 95), "openat": (257, 56), "mkdirat": (258, 34),
    "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38),
    "renameat2": (316, 276), "linkat": (265, 37), "symlinkat": (266, 36),
    "readlinkat": (267, 78), "fchmodat": (268, 53), "faccessat": (269, 48),
    "faccessat2": (439, 439), "utimensat": (280, 88), "pselect6": (270, 72), "ppoll": (271, 73),
    "set_robust_list": (273, 99), "get_robust_list": (274, 100), "eventfd": (284, -1),
    "eventfd2": (290, 19), "dup3": (292, 24), "pipe2": (293, 59), "preadv": (295, 69),
    "pwritev": (296, 70), "getrandom": (318, 278), "statx": (332, 291), "rseq": (334, 293),
    "close_range": (436, 436), "membarrier": (324, 283), "copy_file_range": (326, 285),
    "getcpu": (309, 168), "timerfd_create": (283, 85), "timerfd_settime": (286, 86),
    "timerfd_gettime": (287, 87), "fallocate": (285, 47), "futex_waitv": (449, 449),
    "getpriority": (140, 141), "sched_getattr": (315, 275),
}  # fmt: skip

# The server's own: refused to programs by the filter that each child adds.
SERVER_ONLY: dict[str, Numbers] = {
    "recvmsg": (47, 212), "sendmsg": (46, 211), "prctl": (157, 167), "seccomp": (317, 277),
    "setrlimit": (160, 164), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "fork": (57, -1), "vfork": (58, -1), "setsid": (112, 157),
}  # fmt: skip

# To programs that may start others: processes, and what they run.
FORKING: dict[str, Numbers] = {
    "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281),
    "setsid": (112, 157), "setpgid": (109, 154), "arch_prctl": (158, -1),
}  # fmt: skip

# Where no other fence holds the files, programs may not change them.
CHANGING_FILES: dict[str, Numbers] = {
    name: ALLOWED[name]
    for name in (
        "rename", "mkdir", "rmdir", "creat", "link", "unlink", "symlink", "chmod", "fchmod",
        "truncate", "utime", "utimes", "mkdirat", "unlinkat", "renameat", "renameat2", "linkat",
        "symlinkat", "fchmodat", "utimensat",
    )
}  # fmt: skip

OPEN, OPENAT = ALLOWED["open"], ALLOWED["openat"]
CLONE, CLONE3 = (56, 220), (435, 435)
KILL, TGKILL = (62, 129), (234, 131)
SOCKETPAIR, PRLIMIT, IOCTL, FCNTL = (53, 199), (302, 261), (16, 29), ALLOWED["fcntl"]
