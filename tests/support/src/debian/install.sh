# Installs what tests and benchmarks run inside a whole Debian.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
systemctl is-system-running --wait
apt-get update -q &&
    apt-get install -qy --no-install-recommends fio gcc iperf3 libc6-dev make nodejs stress-ng &&
    systemctl disable --now iperf3 2>/dev/null
apt-get clean
for tool in fio gcc iperf3 make node stress-ng; do
    command -v $tool >/dev/null || exit 1
done
sync
echo "trine: the tools are installed"
