// Command app evaluates arithmetic: each argument is an expression, or each line of standard input
// when there is no argument.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	failed := false
	answer := func(text string) {
		value, err := evaluate(text)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", text, err)
			failed = true
			return
		}
		fmt.Println(value)
	}
	if len(os.Args) > 1 {
		for _, text := range os.Args[1:] {
			answer(text)
		}
	} else {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			answer(lines.Text())
		}
	}
	if failed {
		os.Exit(1)
	}
}
