# Writes 12 C files of 20 functions each into /root/tree, and a makefile that compiles and links them.
mkdir -p /root/tree && cd /root/tree || exit 1
body() {
    cat <<END
struct node$1 { struct node$1 *next; unsigned key; char name[24]; };
static unsigned mix$1(unsigned h, const char *s)
{
    while (*s)
        h = (h ^ (unsigned char)*s++) * 16777619u + $1;
    return h;
}
int work$2_$1(struct node$1 *list, const char *names[], int n)
{
    int found = 0;
    for (struct node$1 *p = list; p; p = p->next)
        for (int i = 0; i < n; i++) {
            switch (mix$1(p->key, names[i]) % 7) {
            case 0: found += strcmp(p->name, names[i]) == 0; break;
            case 1: p->key = p->key << 3 | p->key >> 29; break;
            case 2: snprintf(p->name, sizeof p->name, "%s-%d", names[i], found); break;
            case 3: found -= strlen(p->name) > $1; break;
            case 4: if (p->next && p->next->key < p->key) { unsigned k = p->key; p->key = p->next->key; p->next->key = k; } break;
            default: p->key ^= found * $1u;
            }
        }
    return found;
}
END
}
objects=
for file in $(seq 12); do
    {
        printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n'
        for number in $(seq 20); do
            body "$number" "$file"
        done
    } >"part$file.c"
    objects="$objects part$file.o"
done
echo 'int main(void) { return 0; }' >main.c
printf 'CFLAGS = -O2\nall: program\nprogram: main.o%s\n\t$(CC) -o $@ $^\n' "$objects" >Makefile
rm -f ./*.o program
