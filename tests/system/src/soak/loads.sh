# The loads of the soak: sh FILE start NAME…, in a whole Debian. Each load checks its own results and writes a line to the console
# for each round: "soak: NAME ok ROUND". It ends with "soak: NAME FAILED", or with "soak: NAME ended" when /run/soak/stop exists.
RUN=/run/soak
KEPT=/root/soak
SIZE=4194304

say() {
    printf 'soak: %s\n' "$*" >/dev/console
}

# All classes of stress-ng at once: processors, memory, processes, futexes, signals, files.
stress() {
    stress-ng --cpu 1 --vm 1 --vm-bytes 64M --fork 1 --futex 1 --sigq 1 --sigsuspend 1 --hdd 1 --hdd-bytes 16M --rename 1 \
        --verify --timeout 15s --temp-path $KEPT
}

# Functions that a compiler in the guest compiles, against the same in arbitrary precision.
jit() {
    node $RUN/jit.js
}

# The host sends back what it gets. A connection that ends early (a snapshot ends all) is tried again.
net() {
    head -c $SIZE /dev/urandom >$RUN/net.out
    while [ ! -e $RUN/stop ]; do
        timeout 120 bash -c 'exec 3<>/dev/tcp/10.0.2.2/$(cat $0/port) || exit
            cat $0/net.out >&3 & head -c $1 <&3 >$0/net.in; kill $! 2>/dev/null; wait' $RUN $SIZE >/dev/null 2>&1
        if [ "$(stat -c %s $RUN/net.in)" = $SIZE ]; then
            cmp $RUN/net.out $RUN/net.in
            return
        fi
        sleep 1
    done
}

# A raw disk and a file, read back from the device.
disk() {
    head -c 16777216 /dev/urandom >$RUN/disk.out
    at=$((round * 37 % 112))
    dd if=$RUN/disk.out of=/dev/vdb bs=1M seek=$at oflag=direct conv=fsync,notrunc 2>/dev/null &&
        cp $RUN/disk.out $KEPT/file && sync && echo 1 >/proc/sys/vm/drop_caches &&
        dd if=/dev/vdb bs=1M skip=$at count=16 iflag=direct 2>/dev/null | cmp - $RUN/disk.out &&
        cmp $KEPT/file $RUN/disk.out
}

rounds() {
    round=0
    while [ ! -e $RUN/stop ]; do
        if why=$($1 2>&1); then
            round=$((round + 1))
            say "$1 ok $round"
        else
            say "$1 FAILED: $(printf %s "$why" | tail -n 5 | tr '\n' ' ')"
            exit
        fi
        sleep 0.5
    done
    say "$1 ended"
}

mkdir -p $RUN $KEPT
cat >$RUN/jit.js <<'END'
const crypto = require('crypto');
const wrong = (...words) => { console.log(...words); process.exit(1); };
const end = performance.now() + 8000;
do {
    const [a, b, x0] = crypto.webcrypto.getRandomValues(new Int32Array(3)), c = 1 + (a & 15), odd = b | 1;
    const fast = new Function('x', `for (let i = 0; i < 8; i++) { x = Math.imul(x ^ ${a}, ${odd}) + i | 0; x ^= x >>> ${c}; } return x;`);
    const exact = x => {
        for (let i = 0n; i < 8n; i++) {
            x = BigInt.asIntN(32, (x ^ BigInt(a)) * BigInt(odd) + i);
            x = BigInt.asIntN(32, x ^ BigInt.asUintN(32, x) >> BigInt(c));
        }
        return Number(x);
    };
    for (let x = x0; x < x0 + 30000; x++) fast(x | 0);
    for (let x = x0; x < x0 + 100; x++)
        if (fast(x | 0) !== exact(BigInt(x | 0))) wrong('integers', x, a, b, c, fast(x | 0), exact(BigInt(x | 0)));
    const numbers = Float64Array.from({ length: 5000 }, (_, i) => Math.sin(i * a) * b);
    const copy = JSON.parse(JSON.stringify(Array.from(numbers)));
    if (!numbers.every((n, i) => Object.is(n, copy[i]) || n === copy[i])) wrong('numbers as text', a, b);
    const sorted = Float64Array.from(copy).sort();
    for (let i = 1; i < sorted.length; i++) if (sorted[i - 1] > sorted[i]) wrong('sorting', a, b, i);
} while (performance.now() < end);
END
shift
for load in "$@"; do
    rounds "$load" &
done
