// Greets, and names each greeting by a number that depends on who is greeted.
package main

import (
	"flag"
	"fmt"

	"example.org/greeter/greeting"
	"example.org/numbers"
)

// Set by the linker.
var version = "unset"

func main() {
	name := flag.String("name", "world", "who is greeted")
	flag.Parse()
	fmt.Printf("%s (%x, %s)\n", greeting.For(*name), numbers.Of(*name), version)
}
