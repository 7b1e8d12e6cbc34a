/* The first prime that is not less than a number. */
int next_prime(int n) {
    for (;; n++) {
        int d = 2;
        while (d * d <= n && n % d != 0)
            d++;
        if (n >= 2 && d * d > n)
            return n;
    }
}
