#include <stdio.h>
#include <stdlib.h>

#include "version.h"

int next_prime(int);

int main(int argc, char **argv) {
    printf("primes %s:", VERSION);
    for (int i = 1; i < argc; i++)
        printf(" %d", next_prime(atoi(argv[i])));
    printf("\n");
    return 0;
}
