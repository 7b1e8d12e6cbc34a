package greeting

import "testing"

func TestFor(t *testing.T) {
	if got := For("you"); got != "Hello, you" {
		t.Fatal(got)
	}
}
