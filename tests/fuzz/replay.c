/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c - runs a fuzz target over the files of corpus directories, where libFuzzer is not there
 * to do it: every build and every compiler tests the corpus.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An input above this says more about the corpus than about the target. */
#define INPUT_MAX 1048576u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t input[INPUT_MAX];

/* The target gets memory of exactly the input's size: sanitizers see a read past its end. */
static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");

    if (f == NULL) {
        perror(path);
        return -1;
    }
    size_t n = fread(input, 1, sizeof input, f);
    int failed = ferror(f);
    (void)fclose(f);
    if (failed != 0) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        return -1;
    }
    uint8_t *exact = malloc(n > 0 ? n : 1);
    if (exact == NULL) {
        perror(path);
        return -1;
    }
    memcpy(exact, input, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

/* Number of files replayed, or -1. */
static int replay_dir(const char *dir)
{
    char path[4096];
    DIR *d = opendir(dir);
    int count = 0;

    if (d == NULL) {
        perror(dir);
        return -1;
    }
    for (struct dirent *e = readdir(d); e != NULL && count >= 0; e = readdir(d)) {
        if (e->d_name[0] == '.') {
            continue;
        }
        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (n < 0 || (size_t)n >= sizeof path || replay_file(path) != 0) {
            count = -1;
        } else {
            count++;
        }
    }
    (void)closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int count = replay_dir(argv[i]);

        if (count <= 0) {
            (void)fprintf(stderr, "%s: no input replayed\n", argv[i]);
            return 1;
        }
        printf("%s: %d inputs\n", argv[i], count);
    }
    return 0;
}
