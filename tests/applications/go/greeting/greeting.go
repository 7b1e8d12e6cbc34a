// Package greeting knows what to say.
package greeting

import _ "embed"

//go:embed word.txt
var word string

// For greets one person.
func For(name string) string {
	return word + ", " + name
}
