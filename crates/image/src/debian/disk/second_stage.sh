# The second stage: configures the unpacked packages of a Debian disk, as its first process would find it. Runs once, inside the
# machine, with the disk as its root.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
info=/var/lib/dpkg/info
failed=0
[ -e /usr/bin/awk ] || ln -s mawk /usr/bin/awk

# dpkg would have run these before it unpacked.
preinst() {
    DPKG_MAINTSCRIPT_PACKAGE=${1%%:*} DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \
        DPKG_MAINTSCRIPT_ARCH=$(dpkg --print-architecture) DPKG_ROOT= "$info/$1.preinst" install </dev/null ||
        { echo "trine: the preinst of $1 failed"; failed=1; }
}
preinst base-passwd
for script in "$info"/*.preinst; do
    name=${script##*/}
    name=${name%.preinst}
    [ "$name" = base-passwd ] || preinst "$name"
done
dpkg --force-depends --force-unsafe-io --configure base-passwd base-files </dev/null || failed=1
dpkg --force-confold --force-unsafe-io --configure -a </dev/null ||
    dpkg --force-confold --force-unsafe-io --configure -a </dev/null || failed=1
dpkg --audit | head -n 20
systemctl enable systemd-networkd systemd-resolved systemd-timesyncd ssh >/dev/null 2>&1 || failed=1
# They only take time in a virtual machine.
systemctl mask apt-daily.timer \
    apt-daily-upgrade.timer \
    dpkg-db-backup.timer \
    e2scrub_all.timer \
    e2scrub_reap.service \
    systemd-pstore.service \
    dev-hugepages.mount \
    sys-kernel-debug.mount \
    sys-kernel-tracing.mount \
    modprobe@drm.service \
    modprobe@efi_pstore.service >/dev/null 2>&1 || failed=1
passwd -d root >/dev/null || failed=1
depmod -a || failed=1
rm -rf /usr/sbin/policy-rc.d /etc/ssh/ssh_host_* /var/lib/trine
# Newer than /usr, so that the first boot does not make caches anew.
touch -d '+1 hour' /etc/.updated /var/.updated
sync
[ "$failed" = 0 ] && echo "trine: the disk is complete"
