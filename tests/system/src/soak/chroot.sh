# What the loads need in a guest that has BusyBox alone: Debian's programs from the shared folder /debian, and a file system on
# the first disk. They run by `chroot /r`.
set -e
mkdir -p /r /run/soak
mount -t tmpfs tmpfs /r
cd /r
mkdir -p dev etc proc root run/soak sys tmp usr
for name in bin lib sbin; do
    ln -s usr/$name $name
done
for name in dev proc run/soak sys; do
    mount -o bind /$name $name
done
for name in etc usr; do
    mount -o bind /debian/$name $name
done
chroot /r mkfs.ext4 -q /dev/vda
mount -t ext4 /dev/vda root
