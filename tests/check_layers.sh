#!/bin/sh
# Who may include whom, and which room may use which third-party header (DESIGN.md 1).  One line per finding, exit 1 on any.
# usage: check_layers.sh [root of the tree]
set -eu
root=${1:-$(dirname "$0")/..}
cd "$root"

# All sources as "path:line:code" with comments and the insides of string literals taken out; #include lines keep their name.
code() {
    find core ops nn optim models peft tools tests tapir.h -type f \
        \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) 2>/dev/null | LC_ALL=C sort | while read -r f; do
        awk -v file="$f" '
            function strip(s,    out, i, c, n, quote) {
                out = ""; n = length(s); quote = ""
                for (i = 1; i <= n; i++) {
                    c = substr(s, i, 1)
                    if (inside) { if (substr(s, i, 2) == "*/") { inside = 0; i++ } continue }
                    if (quote != "") {
                        if (c == "\\") { i++; continue }
                        if (c == quote) { quote = ""; out = out c }
                        continue
                    }
                    if (substr(s, i, 2) == "/*") { inside = 1; i++; out = out " "; continue }
                    if (substr(s, i, 2) == "//") break
                    if (c == "\"" || c == "\047") quote = c
                    out = out c
                }
                return out
            }
            !inside && /^[ \t]*#[ \t]*include/ { print file ":" FNR ":" $0; next }
            { s = strip($0); if (s ~ /[^ \t]/) print file ":" FNR ":" s }' "$f"
    done
}

code | awk '
    BEGIN {
        # room -> rooms whose headers it may include
        may["core"] = "core"
        may["ops"] = "core ops"
        may["nn"] = "core ops nn"
        may["optim"] = "core ops nn optim"
        may["models"] = "core ops nn optim models"
        may["peft"] = "core ops nn optim peft"
        may["tools"] = may["tests"] = "core ops nn optim models peft tools tests tapir.h"
        may["tapir.h"] = "core ops nn optim models peft"
        rooms = " core ops nn optim models peft tools tests "
        # what C, POSIX, Linux and the compiler bring
        n = split("assert ctype errno float inttypes limits locale math setjmp signal stdalign stdarg stdatomic stdbool " \
                  "stddef stdint stdio stdlib string time threads wchar dirent dlfcn fcntl getopt glob libgen malloc poll " \
                  "pthread sched semaphore strings termios unistd sys/file sys/ioctl sys/mman sys/resource sys/stat " \
                  "sys/syscall sys/sysinfo sys/time sys/types sys/uio sys/utsname sys/wait sys/auxv linux/mman immintrin " \
                  "x86intrin cpuid arm_neon omp sys/prctl sys/statvfs linux/audit linux/filter linux/seccomp", a, " ")
        for (i = 1; i <= n; i++) known[a[i] ".h"] = 1
        known["initializer_list"] = 1
        # third party: header -> files that may include it (extended regex), and how that is said
        party("^jansson", "^core/json\\.c$", "core/json.c")
        party("^pcre2", "^core/regex\\.c$", "core/regex.c")
        party("^xxhash|^xxh3", "^core/hash\\.c$", "core/hash.c")
        party("^hdf5|^H5", "^nn/files/[^/]*$", "one file of nn/files")
        party("^utf8proc", "^models/text/", "models/text")
        party("^(oneapi/)?dnnl", "^ops/cpu/onednn(_conv\\.c|_desc\\.h|\\.c)$", "ops/cpu/onednn*.[ch]")
        party("^lapacke|^cblas", "^ops/cpu/", "ops/cpu")
        party("^cuda|^cublas|^cooperative_groups|^nccl", "^ops/cuda/", "ops/cuda")
        party("^omp\\.h", "^(core|ops|tools|tests)/", "core, ops, tools")
        party("^malloc\\.h", "^core/memory\\.c$", "core/memory.c")
        party("intrin\\.h$|^cpuid|^arm_neon", "^ops/(cpu|cuda)/|^core/number\\.h$", "ops/cpu")
        n = split("malloc calloc realloc reallocarray free strdup strndup aligned_alloc posix_memalign memalign " \
                  "valloc asprintf vasprintf getline getdelim open_memstream alloca tsearch", a, " ")
        for (i = 1; i <= n; i++) heap[a[i]] = 1
        library = "^(core|ops|nn|optim|models|peft)/"
    }
    function party(header, where, said) { np++; p_header[np] = header; p_where[np] = where; p_said[np] = said }
    function finding(text) { print file ":" line ": " text; bad = 1 }
    function room_of(path) { return path ~ /\// ? substr(path, 1, index(path, "/") - 1) : path }
    function has(list, word) { return index(" " list " ", " " word " ") > 0 }
    function quoted(h,    r) {
        if (h ~ /\.\./) { finding("\"" h "\": no .. in an include; name it from the root of the tree"); return }
        if (h ~ /\//) r = room_of(h)
        else if (h == "tapir.h") r = h
        else r = room
        if (r != "tapir.h" && !index(rooms, " " r " ")) finding("\"" h "\": no such room (name it from the root of the tree)")
        else if (!has(may[room], r)) finding(room " may not include " r " (\"" h "\")")
        if (h ~ /^ops\/(cpu|ref|cuda)\// && file !~ /^ops\/|^tests\//) finding("kernels\x27 headers stay in ops (\"" h "\")")
    }
    function angled(h,    i, found) {
        if (h == "tapir.h") {
            if (room != "tools" && room != "tests") finding("<tapir.h>: for programs only")
            return
        }
        for (i = 1; i <= np; i++)
            if (h ~ p_header[i]) {
                found = 1
                if (file !~ p_where[i] && room != "tests") finding("<" h ">: only in " p_said[i])
                if (h ~ /^hdf5|^H5/ && room == "nn" && !(file in h5)) {
                    h5[file] = 1
                    nh5++
                    h5_list = h5_list " " file
                }
            }
        if (!found && !(h in known) && room != "tests") finding("<" h ">: unknown; give it a room in tests/check_layers.sh")
    }
    {
        split($0, part, ":")
        file = part[1]; line = part[2]
        text = substr($0, length(file) + length(line) + 3)
        room = room_of(file)
    }
    text ~ /^[ \t]*#[ \t]*include/ {
        h = text
        if (match(h, /"[^"]*"/)) quoted(substr(h, RSTART + 1, RLENGTH - 2))
        else if (match(h, /<[^>]*>/)) angled(substr(h, RSTART + 1, RLENGTH - 2))
        else finding("an include that names no file")
        next
    }
    text ~ /^[ \t]*#[ \t]*(if|elif|ifdef|ifndef)/ {
        if (file ~ /^ops\/(cpu|cuda)\// || file == "ops/backends.c") next
        if (text ~ /^[ \t]*#[ \t]*ifndef[ \t]+[A-Z0-9_]+_H[ \t]*$/) next
        if (text ~ /CUDA|DNNL|ONEDNN|HIP|AVX|AMX|SSE|F16C|FMA|NEON|TPI_HAVE|TP_HAVE|TPI_ISA/)
            finding("#if for a backend or a CPU: only in ops/backends.c and below ops/cpu, ops/cuda")
        next
    }
    file ~ library && file != "core/memory.c" {
        s = text
        while (match(s, /[A-Za-z_][A-Za-z0-9_]*[ \t]*\(/)) {
            name = substr(s, RSTART, RLENGTH); sub(/[ \t]*\($/, "", name)
            before = RSTART > 1 ? substr(s, 1, RSTART - 1) : ""
            s = substr(s, RSTART + RLENGTH)
            sub(/[ \t]+$/, "", before)
            if (before ~ /(\.|->)$/) continue
            if (name in heap)
                finding(name "(): only core/memory.c allocates and frees (tpi_alloc, tpi_free)")
        }
    }
    END {
        if (nh5 > 1) { print "nn/files: hdf5.h in more than one file:" h5_list; bad = 1 }
        exit bad
    }'
